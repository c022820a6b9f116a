"""What each window showed when it was last seen, to be shown again where it goes or when it is uncovered.

X11 calls that a backing store. The window table says which window every tile of the screen belongs to; a window's tiles
are kept by where they lie in its box, so a window that moves, is raised or comes back is already there. What belongs to
no window is the ground, kept in a row of its own. A store is int16 (N, K + 1, tiles), ``num_codes`` where nothing was
seen yet. The painter still decides, tile by tile, whether to show what is composed here.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from nc_gym.computer.config import NeuralComputerConfig
from nc_gym.computer.patch_geometry import cut, grid
from nc_gym.computer.window_table import BOXES, FIELDS, covers, outlines


def empty_store(config: NeuralComputerConfig, rows: int, device: torch.device) -> Tensor:
    """Returns stores that have seen nothing yet."""
    shape = rows, config.windows + 1, config.num_tiles
    return torch.full(shape, config.num_codes, dtype=torch.int16, device=device)


def compose(
    config: NeuralComputerConfig, store: Tensor, codes: Tensor, before: Tensor, after: Tensor
) -> tuple[Tensor, Tensor]:
    """Lets stores follow their windows from one table to the next.

    While a table stays, nothing has to be kept: what its windows show is on the screen.

    Args:
        config: gives the geometry.
        store: int16 (N, K + 1, tiles).
        codes: what the screens show before the event, (N, tiles).
        before: the tables until now, (N, K, FIELDS).
        after: those after the event.

    Returns:
        The stores with their rows as in the new tables, and the screens as they show them, (N, tiles): as they are
        where a store knows nothing.
    """
    kept = store.flatten(1).scatter(1, _entries(config, before), codes.to(torch.int16)).view_as(store)
    origin = origins(before, after)
    source = torch.cat([origin.clamp(min=0), torch.full_like(origin[:, :1], config.windows)], 1)
    followed = kept.gather(1, source[..., None].expand_as(kept))
    followed[:, :-1][origin < 0] = config.num_codes
    composed = followed.flatten(1).gather(1, _entries(config, after)).long()
    return followed, torch.where(composed == config.num_codes, codes, composed)


def origins(before: Tensor, after: Tensor) -> Tensor:
    """Returns which old row each row of the tables (N, K, FIELDS) comes from, -1 for a new window, int64 (N, K).

    A window keeps its title, and its box or its task or both; the best matches come first.
    """
    same = (after[:, :, None] == before[:, None]) & (after[:, :, None, :1] > 0)  # (N, K, K, FIELDS)
    likeness = same[..., BOXES].all(-1) * 4 + same[..., 2] * 2
    likeness = torch.where(same[..., 1] & (before[:, None, :, 0] > 0), likeness, 0).flatten(1)  # (N, K * K)
    rows, K = torch.arange(len(before), device=before.device), before.shape[1]
    origin = torch.full(before.shape[:2], -1, device=before.device)
    for _ in range(K):
        best, pair = likeness.max(1)
        row, old = pair // K, pair % K
        origin[rows, row] = torch.where(best > 0, old, origin[rows, row])
        likeness = likeness.view(-1, K, K)
        likeness[rows, row] = 0
        likeness[rows, :, old] = 0
        likeness = likeness.flatten(1)
    return origin


def _entries(config: NeuralComputerConfig, table: Tensor) -> Tensor:
    """Returns which entry of the store belongs to each tile, int64 (N, tiles)."""
    row = torch.arange(config.num_tiles, device=table.device) // config.tile_columns  # (tiles,)
    column = torch.arange(config.num_tiles, device=table.device) % config.tile_columns
    there = covers(table[:, None], torch.stack([column, row], -1), config)  # (N, tiles, K)
    owner = F.pad(there, (0, 1), value=True).int().argmax(-1)  # (N, tiles), the topmost; the ground where there is none
    x, y = (F.pad(side, (0, 1)).gather(1, owner) for side in outlines(table, config)[..., :2].unbind(-1))
    place = (row - y) % config.tile_rows * config.tile_columns + (column - x) % config.tile_columns
    return owner * config.num_tiles + place


def with_backing(arrays: dict[str, NDArray], config: NeuralComputerConfig) -> dict[str, NDArray]:
    """Returns the arrays of a ``PatchFile`` (``patches.py``) with what the backing stores of its windows show."""
    c, number, starts = config, config.num_patches, arrays["starts"]
    tables = torch.from_numpy(arrays.get("said", arrays["windows"]).astype(np.int64))
    table = torch.zeros(len(starts) - 1, c.windows, len(FIELDS), dtype=torch.int64)
    store = empty_store(c, len(table), table.device)
    canvas = arrays["codes"][arrays["state"][arrays["boot"][:, None] + np.arange(number)]]  # (S, patches, 16)
    found: list[tuple[NDArray, NDArray, NDArray]] = []
    for t in range(int(np.diff(starts).max())):
        rows = np.flatnonzero(t < np.diff(starts))
        events = starts[rows] + t
        changes = (tables[events] != table[rows]).flatten(1).any(1).numpy()
        some = rows[changes]
        codes = torch.from_numpy(grid(canvas[some], c).reshape(len(some), c.num_tiles).astype(np.int64))
        store[some], composed = compose(c, store[some], codes, table[some], tables[events[changes]])
        shown = cut(c, composed).numpy().astype(np.int16)
        row, place = np.nonzero((shown != canvas[some]).any(2))
        found.append((events[changes][row], place, shown[row, place]))
        table[rows] = tables[events]
        counts = arrays["hi"][events] - arrays["lo"][events]
        drawn = np.repeat(arrays["lo"][events] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        canvas[np.repeat(rows, counts), arrays["place"][drawn]] = arrays["codes"][arrays["state"][drawn]]
    event, where, patches = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.argsort(event, kind="stable")
    distinct, state = np.unique(np.concatenate([arrays["codes"], patches[order]]), axis=0, return_inverse=True)
    known, backed = np.split(state.reshape(-1).astype(np.int32), [len(arrays["codes"])])
    lo = np.searchsorted(event[order], np.arange(len(tables) + 1))
    renamed = {name: known[arrays[name]] for name in ("state", "goal_state") if name in arrays}
    return arrays | renamed | {
        "codes": distinct, "backed_lo": lo[:-1], "backed_hi": lo[1:], "backed_place": where[order].astype(np.int16),
        "backed_state": backed,
    }  # fmt: skip
