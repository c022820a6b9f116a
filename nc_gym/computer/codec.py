"""The tile codec: each tile of pixels on its own <-> a code in a learned codebook <-> a latent vector.

Pixels enter as uint8 (..., H, W, 3) and leave as codes (..., tiles) or latents (..., tiles, d_z). A code is the
nearest of K tile prototypes found in recordings; its latent is a point that was pushed away from every other code's
point, so that a denoised latent that is a little wrong still snaps to the right tile. Nothing here knows glyphs.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from nc_gym.computer.config import NeuralComputerConfig


class TileCodec(nn.Module):
    """A vector-quantised codec with a receptive field of one tile.

    Attributes:
        prototypes: uint8 (K, h, w, 3), the pixels of each code.
        code_latents: float (K, d_z), the latent of each code.
    """

    prototypes: Tensor
    code_latents: Tensor

    def __init__(self, config: NeuralComputerConfig) -> None:
        super().__init__()
        self.config = config
        h, w = config.tile_height, config.tile_width
        self.register_buffer("prototypes", torch.zeros(config.num_codes, h, w, 3, dtype=torch.uint8))
        self.register_buffer("code_latents", torch.zeros(config.num_codes, config.latent_dim))

    def tiles(self, screens: Tensor) -> Tensor:
        """Cuts screens uint8 (..., H, W, 3) into tiles uint8 (..., tiles, h, w, 3), raster order."""
        c = self.config
        lead = screens.shape[:-3]
        x = screens.reshape(*lead, c.tile_rows, c.tile_height, c.tile_columns, c.tile_width, 3)
        return x.transpose(-4, -3).reshape(*lead, c.num_tiles, c.tile_height, c.tile_width, 3)

    def screens(self, codes: Tensor) -> Tensor:
        """Draws codes (..., tiles) as screens uint8 (..., H, W, 3)."""
        c = self.config
        x = self.prototypes[codes]  # (..., tiles, h, w, 3)
        x = x.reshape(*codes.shape[:-1], c.tile_rows, c.tile_columns, c.tile_height, c.tile_width, 3)
        return x.transpose(-4, -3).reshape(*codes.shape[:-1], c.screen_height, c.screen_width, 3)

    def encode_tiles(self, tiles: Tensor) -> Tensor:
        """Returns the code int64 (...) of each tile uint8 (..., h, w, 3): the nearest prototype in pixels."""
        flat = tiles.reshape(-1, self.prototypes[0].numel())
        distinct, inverse = torch.unique(flat, dim=0, return_inverse=True)
        x, p = distinct.float(), self.prototypes.flatten(1).float()
        distance = (p * p).sum(1) - 2 * x @ p.T  # |x - p|^2 up to a constant of the row
        return distance.argmin(1)[inverse].reshape(tiles.shape[:-3])

    def encode(self, screens: Tensor) -> Tensor:
        """Returns codes int64 (..., tiles) of screens uint8 (..., H, W, 3)."""
        return self.encode_tiles(self.tiles(screens))

    def used_codes(self) -> int:
        """Returns how many codes stand for a tile that was found in recordings; the spare ones come after them."""
        return int((self.prototypes != self.prototypes[0]).flatten(1).any(1).sum()) + 1

    def snap(self, latents: Tensor) -> Tensor:
        """Returns the code int64 (...) whose latent is nearest to each of ``latents`` (..., d_z)."""
        p = self.code_latents
        nearness = torch.addmm((p * p).sum(1) / -2, latents.float().flatten(0, -2), p.T)  # (|z|² - |z - p|²) / 2
        return nearness.argmax(-1).view(latents.shape[:-1])


def fit_codec(codec: TileCodec, tiles: NDArray[np.uint8], counts: NDArray[np.int64], seed: int) -> None:
    """Learns prototypes and latents in place from tiles uint8 (D, h, w, 3) seen ``counts`` (D,) times.

    The K most frequent distinct tiles become prototypes, most frequent first, so code 0 is the screen's background.
    The latents start at the whitened principal components of the prototypes and are then spread: a softmax over
    distances must name the code from its latent under Gaussian noise.
    """
    generator = torch.Generator().manual_seed(seed)
    K, d = codec.code_latents.shape
    order = np.argsort(-counts, kind="stable")[:K]
    chosen = torch.from_numpy(tiles[order])
    codec.prototypes.zero_()
    codec.prototypes[: len(chosen)] = chosen
    codec.prototypes[len(chosen) :] = chosen[0]  # spare codes repeat the background and are never nearest first
    x = codec.prototypes.flatten(1).double() / 255
    x = x + 1e-3 * torch.randn(x.shape, generator=generator, dtype=x.dtype)
    u, _, _ = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    z = (F.normalize(u[:, :d].float(), dim=1) * d**0.5).requires_grad_(True)
    optimizer = torch.optim.Adam([z], lr=0.03)
    for _ in range(300):
        unit = F.normalize(z, dim=1) * d**0.5  # unit variance per dimension, like the noise
        noisy = unit + torch.randn(unit.shape, generator=generator)
        loss = F.cross_entropy(-(torch.cdist(noisy, unit) ** 2) / 2, torch.arange(K))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    codec.code_latents.copy_(F.normalize(z.detach(), dim=1) * d**0.5)
