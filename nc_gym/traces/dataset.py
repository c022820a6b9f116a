"""Turns casts into training shards: lossless tile-delta videos, pixels only.

The recorded output is replayed through the very display the real terminal draws with, so a shard's screens are the
machine's own. Shards are derived and disposable: the casts are what counts.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nc_gym.machines.terminal import CELL_HEIGHT, CELL_WIDTH, COLUMNS, ROWS, Display
from nc_gym.traces.cast import Cast, CastError, read_cast
from nc_gym.traces.home import FAMILIES
from nc_gym.traces.shards import Job, find_recordings, write_arrays, write_shards

TILES = ROWS * COLUMNS


@dataclass(frozen=True)
class Shard:
    """S sessions with E events in all, as the tiles that each event changes.

    Attributes:
        tiles: distinct tiles, uint8 (D, 16, 8, 3).
        screen0: first screen of each session as tile ids in raster order, int32 (S, 480).
        starts: session s has events ``starts[s]:starts[s + 1]``, int64 (S + 1,).
        events: key index of each step, uint8 (E,).
        delta_starts: event e changes entries ``delta_starts[e]:delta_starts[e + 1]``, int64 (E + 1,).
        delta_pos: changed tile positions, ascending within an event, int16 (M,).
        delta_tile: their new tile ids, int32 (M,).
        family: command family of an Enter event, 0 for others, uint8 (E,).
        families: names of the families, str (F,).
    """

    tiles: NDArray[np.uint8]
    screen0: NDArray[np.int32]
    starts: NDArray[np.int64]
    events: NDArray[np.uint8]
    delta_starts: NDArray[np.int64]
    delta_pos: NDArray[np.int16]
    delta_tile: NDArray[np.int32]
    family: NDArray[np.uint8]
    families: NDArray[np.str_]

    def screens(self, session: int) -> Iterator[NDArray[np.uint8]]:
        """Yields the screens of one session, first after the boot and then after each event, uint8 (192, 320, 3)."""
        ids = self.screen0[session].copy()
        yield self._draw(ids)
        for event in range(self.starts[session], self.starts[session + 1]):
            changed = slice(self.delta_starts[event], self.delta_starts[event + 1])
            ids[self.delta_pos[changed]] = self.delta_tile[changed]
            yield self._draw(ids)

    def _draw(self, ids: NDArray[np.int32]) -> NDArray[np.uint8]:
        grid = self.tiles[ids].reshape(ROWS, COLUMNS, CELL_HEIGHT, CELL_WIDTH, 3)
        return grid.transpose(0, 2, 1, 3, 4).reshape(ROWS * CELL_HEIGHT, COLUMNS * CELL_WIDTH, 3)


class _ShardBuilder:
    """Collects sessions and their tile dictionary."""

    def __init__(self) -> None:
        self._ids: dict[bytes, int] = {}
        self._screen0: list[NDArray[np.int32]] = []
        self._starts = [0]
        self._events = array("B")
        self._family = array("B")
        self._delta_starts = array("q", [0])
        self._pos = array("h")
        self._tile = array("i")

    def add(self, cast: Cast) -> None:
        """Appends one recorded session."""
        display = Display({})
        display.feed(cast.outputs[0].encode())
        shown = display.pixels().copy()
        self._screen0.append(self._tile_ids(shown, np.arange(TILES)))
        for output in cast.outputs[1:]:
            if output:
                display.feed(output.encode())
                self._append_change(shown, display.pixels())
            self._delta_starts.append(len(self._pos))
        self._events.extend(cast.events)
        self._family.extend(cast.families)
        self._starts.append(len(self._events))

    def _append_change(self, shown: NDArray[np.uint8], pixels: NDArray[np.uint8]) -> None:
        """Appends the tiles in which ``pixels`` differs from ``shown``, and brings ``shown`` up to date."""
        words = shown.reshape(-1).view(np.uint64), pixels.reshape(-1).view(np.uint64)  # three per row of a tile
        different = words[0] != words[1]
        bands = np.flatnonzero(different.reshape(ROWS, -1).any(axis=1))
        for band in bands:
            columns = different.reshape(ROWS, CELL_HEIGHT, COLUMNS, 3)[band].any(axis=(0, 2))
            changed = np.flatnonzero(columns) + band * COLUMNS
            self._pos.extend(changed.tolist())
            self._tile.extend(self._tile_ids(pixels, changed).tolist())
            rows = slice(band * CELL_HEIGHT, (band + 1) * CELL_HEIGHT)
            shown[rows] = pixels[rows]

    def _tile_ids(self, pixels: NDArray[np.uint8], positions: NDArray[np.int64]) -> NDArray[np.int32]:
        grid = pixels.reshape(ROWS, CELL_HEIGHT, COLUMNS, CELL_WIDTH, 3)
        tiles = grid[positions // COLUMNS, :, positions % COLUMNS]
        return np.array([self._ids.setdefault(tile.tobytes(), len(self._ids)) for tile in tiles], np.int32)

    def shard(self) -> Shard:
        """Returns everything added so far."""
        tiles = np.frombuffer(b"".join(self._ids), np.uint8).reshape(-1, CELL_HEIGHT, CELL_WIDTH, 3)
        return Shard(
            tiles=tiles,
            screen0=np.array(self._screen0, np.int32).reshape(-1, TILES),
            starts=np.array(self._starts, np.int64),
            events=np.array(self._events, np.uint8),
            delta_starts=np.array(self._delta_starts, np.int64),
            delta_pos=np.array(self._pos, np.int16),
            delta_tile=np.array(self._tile, np.int32),
            family=np.array(self._family, np.uint8),
            families=np.array(FAMILIES),
        )


def build_shards(
    traces_dir: str | Path, out_dir: str | Path, sessions_per_shard: int = 500, workers: int = 2, progress: bool = True
) -> list[Path]:
    """Replays every cast of a folder and writes the shards ``shard-00000.npz``, ...

    A damaged cast is left out with a warning that names it; shards that exist are written anew.

    Args:
        traces_dir: folder of ``nc-gym collect``.
        out_dir: where the shards go.
        sessions_per_shard: casts per file.
        workers: parallel processes.
        progress: show a progress bar.

    Returns:
        The shards written, in order.

    Raises:
        ShardError: the disk is full or a worker was killed.
    """
    casts = find_recordings(traces_dir, ".cast")
    if not casts:
        raise FileNotFoundError(
            f"no .cast file in {traces_dir}; record some first with 'nc-gym collect terminal --out {traces_dir}'"
        )
    return write_shards(casts, Path(out_dir), _build, sessions_per_shard, workers, progress)


def _build(job: Job) -> tuple[Path, list[str]]:
    """Writes one shard; returns its path and what is wrong with the casts that were left out."""
    path, casts = job
    builder, damaged, sound = _ShardBuilder(), [], 0
    for cast in casts:
        try:
            recording = read_cast(cast)
        except CastError as error:
            damaged.append(str(error))
            continue
        size = recording.columns, recording.rows
        if size != (COLUMNS, ROWS):
            damaged.append(f"{cast} is a recording of {size} columns and rows, expected {(COLUMNS, ROWS)}: remove it")
            continue
        builder.add(recording)
        sound += 1
    if sound:
        save_shard(path, builder.shard())
    else:
        path.unlink(missing_ok=True)  # of an earlier build
    return path, damaged


def save_shard(path: Path, shard: Shard) -> None:
    """Writes ``shard`` in one piece."""
    write_arrays(path, {field.name: getattr(shard, field.name) for field in fields(shard)})


def load_shard(path: str | Path) -> Shard:
    """Reads one shard.

    Raises:
        ValueError: the file is no shard or damaged.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return Shard(**{field.name: arrays[field.name] for field in fields(Shard)})
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(
            f"{path} is not a training shard ({type(error).__name__}: {error}); expected an .npz of build_shards: "
            "delete it and build the shards again from their casts"
        ) from error
