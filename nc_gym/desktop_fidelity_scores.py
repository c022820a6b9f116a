"""The arithmetic of the desktop's fidelity: pixels, structural similarity, and whether a screen is nearest to its own.

Pure functions of screens, uint8 (N, 240, 320, 3).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from nc_gym import fidelity_scores as scores

LEVELS = 8  # a pixel is right if each of its colours is at most this far off
_AT_ONCE = 16  # screens

Screens = NDArray[np.uint8]


def right_pixels(screens: Screens, real: Screens) -> NDArray[np.bool_]:
    """Tells which pixels are right within ``LEVELS``, bool (N, 240, 320)."""
    off: Screens = np.maximum(screens, real) - np.minimum(screens, real)
    return np.all(off <= LEVELS, axis=3)


def share_right(right: NDArray[np.bool_], counted: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Returns the share of the ``counted`` pixels (N, 240, 320) that are ``right``, float64 (N,); 1 if none is."""
    good, all_ = (right & counted).sum((1, 2)), counted.sum((1, 2))
    return np.where(all_ > 0, good / np.maximum(all_, 1), 1.0)


def differ(screens: Screens, others: Screens) -> NDArray[np.bool_]:
    """Tells which pixels differ at all, bool (N, 240, 320)."""
    return (screens != others).any(3)


def squared_errors(screens: Screens, real: Screens) -> NDArray[np.float64]:
    """Returns the mean squared error of the colours, as values in [0, 1], float64 (N,)."""
    off = np.maximum(screens, real) - np.minimum(screens, real)
    levels = np.stack([np.bincount(one.reshape(-1), minlength=256) for one in off])  # (N, 256)
    return levels @ np.square(np.arange(256) / 255) / off[0].size


def psnr(squared_error: float) -> float | None:
    """Returns the peak signal-to-noise ratio in decibels; None, which stands for infinity, without any error."""
    return float(-10 * np.log10(squared_error)) if squared_error > 0 else None


def psnr_number(squared: NDArray[np.float64], counted: NDArray[np.bool_]) -> dict[str, float | int | None]:
    """Returns the PSNR of the mean squared error over the ``counted`` screens, both (N, T), and its 95 % interval."""
    number = scores.share_number(squared, counted)
    ends = {"mean": number["share"], "low": number["high"], "high": number["low"]}
    return {**{end: psnr(value) for end, value in ends.items()}, "screens": int(number["events"])}


def ssim(screens: Screens, real: Screens) -> NDArray[np.float64]:
    """Returns the structural similarity of each pair of screens, float64 (N,), by torchmetrics as in the paper."""
    from torchmetrics.functional.image import structural_similarity_index_measure as measure

    values = np.ones(len(screens))
    different = np.flatnonzero((screens != real).any((1, 2, 3)))
    for start in range(0, len(different), _AT_ONCE):
        chosen = different[start : start + _AT_ONCE]
        shown, true = (torch.from_numpy(each[chosen]).permute(0, 3, 1, 2).float() / 255 for each in (screens, real))
        found = measure(shown, true, data_range=1.0, reduction="none")
        assert isinstance(found, torch.Tensor)  # a pair only if the whole map is asked for
        values[chosen] = found.numpy().reshape(-1)
    return values


def distance(screens: Screens, screen: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Returns the sum of absolute differences of all colours of each of M screens from one, int64 (M,)."""
    off = np.maximum(screens, screen) - np.minimum(screens, screen)
    return off.reshape(len(screens), -1).sum(1, dtype=np.int64)


def nearest_to_own(screens: Sequence[NDArray[np.uint8]], real: Sequence[NDArray[np.uint8]]) -> list[bool | None]:
    """Tells which screens of a class are nearer to their own true screen than to any other true screen of the class.

    Args:
        screens: M screens (240, 320, 3) that a machine produced.
        real: the screens that it should have produced.

    Returns:
        For each screen: whether it is, or None if the class has no true screen that differs from its own.
    """
    candidates = np.stack(real)
    answers: list[bool | None] = []
    for screen, own in zip(screens, real, strict=True):
        others = (candidates != own).any((1, 2, 3))
        if not others.any():
            answers.append(None)
            continue
        far = distance(candidates, screen)
        answers.append(bool(far[~others][0] < far[others].min()))
    return answers
