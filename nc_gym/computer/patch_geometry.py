"""Where tiles are: a tile of the screen is a row and a column, or a patch and a place in it (raster order)."""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from nc_gym.computer.config import NeuralComputerConfig

_Array = TypeVar("_Array", NDArray, Tensor)

NEAR = 5  # tiles along the side of the square around the pointer that the log sees
AROUND = (9, 3)  # rows and columns of tiles around one that is drawn: as high as two characters of one line


def likeliest(down: Tensor, right: Tensor) -> Tensor:
    """Returns the likeliest rows and columns (M, 2), given logits of each, the most negative first."""
    return torch.stack([x.argmax(-1) - x.shape[-1] // 2 for x in (down, right)], 1)


def tile_at(config: NeuralComputerConfig, patch: Tensor, inner: Tensor) -> tuple[Tensor, Tensor]:
    """Returns row and column of the tiles ``inner`` of patches."""
    row = patch // config.patch_columns * config.patch + inner // config.patch
    return row, patch % config.patch_columns * config.patch + inner % config.patch


def middle_of(config: NeuralComputerConfig, patch: Tensor) -> Tensor:
    """Returns column and row (..., 2) of the tile in the middle of patches."""
    row, column = tile_at(config, patch, torch.full_like(patch, (config.patch**2 + config.patch) // 2))
    return torch.stack([column, row], -1)


def patch_at(config: NeuralComputerConfig, row: Tensor, column: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns patch, place in it, and whether they are on the screen, of tiles at rows and columns.

    What is outside is moved to the nearest edge.
    """
    inside = (row >= 0) & (row < config.tile_rows) & (column >= 0) & (column < config.tile_columns)
    row, column = row.clamp(0, config.tile_rows - 1), column.clamp(0, config.tile_columns - 1)
    patch = row // config.patch * config.patch_columns + column // config.patch
    return patch, row % config.patch * config.patch + column % config.patch, inside


def tiles_near(config: NeuralComputerConfig, pointer: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns ``patch_at`` of the square of tiles around pointers (T, 2), column and row: each (T, NEAR ** 2)."""
    side = torch.arange(NEAR, device=pointer.device) - NEAR // 2
    rows = (pointer[:, 1, None, None] + side[:, None]).expand(-1, NEAR, NEAR).flatten(1)
    columns = (pointer[:, 0, None, None] + side).expand(-1, NEAR, NEAR).flatten(1)
    return patch_at(config, rows, columns)


def cut(config: NeuralComputerConfig, codes: Tensor) -> Tensor:
    """Cuts framebuffers (A, tiles) into patches (A, patches, 16)."""
    x = codes.view(-1, config.patch_rows, config.patch, config.patch_columns, config.patch)
    return x.transpose(2, 3).reshape(len(codes), config.num_patches, config.patch**2)


def grid(codes: _Array, config: NeuralComputerConfig) -> _Array:
    """Lays patches (..., patches, 16) out as tiles (..., tile rows, tile columns)."""
    side = config.patch
    shape = (*codes.shape[:-2], config.patch_rows, config.patch_columns, side, side)
    return codes.reshape(shape).swapaxes(-3, -2).reshape(*codes.shape[:-2], config.tile_rows, config.tile_columns)


def moved_from(config: NeuralComputerConfig, place: Tensor, motion: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns ``patch_at`` of the tiles that a motion brings to the tiles of P patches: each (P, 16).

    Nothing is inside where nothing moves.

    Args:
        config: gives the geometry.
        place: (P,), which patch.
        motion: of each, (P, 2), rows and columns of tiles.
    """
    row, column = tile_at(config, place[:, None], torch.arange(config.patch**2, device=place.device))
    patch, inner, inside = patch_at(config, row - motion[:, :1], column - motion[:, 1:])
    return patch, inner, inside & (motion != 0).any(1, keepdim=True)


def moved_codes(config: NeuralComputerConfig, codes: Tensor, event: Tensor, place: Tensor, motion: Tensor) -> Tensor:
    """Returns what a motion brings to P patches, codes (P, 16); ``num_codes`` where nothing comes from or none moves.

    Args:
        config: gives the geometry.
        codes: framebuffers (A, patches, 16).
        event: (P,), which framebuffer.
        place: (P,), which patch.
        motion: (A, 2), rows and columns of tiles.
    """
    patch, inner, inside = moved_from(config, place, motion[event])
    return torch.where(inside, codes[event[:, None], patch, inner], config.num_codes)


def tiles_around(config: NeuralComputerConfig, codes: Tensor, event: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Returns the codes (Q, rows * columns of AROUND) around Q tiles in framebuffers (A, patches, 16), 0 outside."""
    high, wide = (n // 2 for n in AROUND)
    padded = F.pad(grid(codes, config), (wide, wide, high, high))  # so that nothing has to be asked about the edges
    _, rows, columns = padded.shape
    corner = (event * rows + row) * columns + column
    down, right = (torch.arange(n, device=row.device) for n in AROUND)
    return padded.flatten()[corner[:, None] + (down[:, None] * columns + right).flatten()]


def rank_in_event(event: Tensor, events: int) -> tuple[Tensor, Tensor]:
    """Returns the rank of each of P sorted entries within its event (P,), and how many each event has (events,)."""
    count = torch.bincount(event, minlength=events)
    return torch.arange(len(event), device=event.device) - (count.cumsum(0) - count)[event], count
