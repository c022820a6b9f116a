"""Turns recordings of the desktop into training shards: the patches that every event changes, and the pointer.

In: folders of ``nc-gym collect desktop``. Out: ``shard-00000.npz``, ... as ``computer/patches.py`` reads them.
Shards are derived and disposable: the recordings are what counts. Purposes stay behind.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nc_gym.machines.desktop_events import HEIGHT, WIDTH
from nc_gym.machines.pointer import Sprite
from nc_gym.traces.desktop_mix import USERS
from nc_gym.traces.desktop_trace import DesktopTrace, TraceError, read_screens, read_trace
from nc_gym.traces.desktop_users import LAUNCHERS
from nc_gym.traces.shards import Job, find_recordings, write_arrays, write_shards

PATCH = 16  # pixels
TILE = 4  # pixels
_ROWS, _COLUMNS, _SIDE = HEIGHT // PATCH, WIDTH // PATCH, PATCH // TILE
_SPRITE_SIDE = 32  # the largest image of a pointer
_TITLES = tuple(LAUNCHERS)
_WINDOWS, _FIELDS = 4, 11  # of a window table
_MINIMIZED, _ACTIVE, _SHOWN = 1, 2, 3  # states of a window


class _ShardBuilder:
    """Collects sessions, their distinct patches and tiles, and their pointers' images."""

    def __init__(self) -> None:
        self._patch_ids: dict[bytes, int] = {}
        self._tile_ids: dict[bytes, int] = {}
        self._patches: list[NDArray[np.int32]] = []
        self._sprites: list[Sprite] = []
        self._screen0: list[NDArray[np.int32]] = []
        self._pointer0: list[tuple[int, int, int]] = []
        self._starts = [0]
        self._in_tile = 0, 0
        self._events: list[NDArray[np.int16]] = []
        self._windows: list[NDArray[np.int16]] = []
        self._sprite = array("B")
        self._family: list[int] = []
        self._delta_starts = array("q", [0])
        self._patch = array("h")
        self._state = array("i")

    def add(self, trace: DesktopTrace, path: Path) -> None:
        """Appends one recorded session."""
        screens = read_screens(path, pointer=False)
        shown = next(screens)
        kept = self._length()
        try:
            screen0 = self._states(shown, np.arange(_ROWS * _COLUMNS))
            for screen in screens:
                changed = np.flatnonzero(_patches(screen != shown).any((1, 2)))
                self._patch.extend(changed.tolist())
                self._state.extend(self._states(screen, changed).tolist())
                self._delta_starts.append(len(self._patch))
                shown = screen
        except TraceError:
            self._forget(kept)
            raise
        sprites = [self._sprite_id(sprite) for sprite in trace.sprites]
        x, y, shape = trace.pointers[0]
        self._in_tile = trace.pointers[-1][0] % TILE, trace.pointers[-1][1] % TILE  # events always point there
        self._screen0.append(screen0)
        self._pointer0.append((x, y, sprites[shape]))
        self._events.append(np.array(trace.events, np.int16))
        self._windows.append(window_tables(trace))
        self._sprite.extend(sprites[shape] for _, _, shape in trace.pointers[1:])
        self._family.append(USERS.index(trace.info["user"]))
        self._starts.append(len(self._sprite))

    def _length(self) -> int:
        return len(self._delta_starts)

    def _forget(self, kept: int) -> None:
        """Takes back the events of a session that turned out damaged."""
        del self._delta_starts[kept:]
        del self._patch[self._delta_starts[-1] :]
        del self._state[self._delta_starts[-1] :]

    def _sprite_id(self, sprite: Sprite) -> int:
        if sprite not in self._sprites:
            self._sprites.append(sprite)
        return self._sprites.index(sprite)

    def _states(self, screen: NDArray[np.uint8], places: NDArray[np.int64]) -> NDArray[np.int32]:
        """Returns the numbers of the patches at some places of a screen."""
        patches = _patches(screen)[places]
        found = np.empty(len(places), np.int32)
        for i, patch in enumerate(patches):
            key = patch.tobytes()
            if key not in self._patch_ids:
                self._patch_ids[key] = len(self._patch_ids)
                self._patches.append(self._tiles_of(patch))
            found[i] = self._patch_ids[key]
        return found

    def _tiles_of(self, patch: NDArray[np.uint8]) -> NDArray[np.int32]:
        """Returns the numbers of the 16 tiles of a patch, raster order."""
        tiles = patch.reshape(_SIDE, TILE, _SIDE, TILE, 3).swapaxes(1, 2).reshape(-1, TILE, TILE, 3)
        return np.array([self._tile_ids.setdefault(t.tobytes(), len(self._tile_ids)) for t in tiles], np.int32)

    def arrays(self) -> dict[str, NDArray]:
        """Returns everything added so far, as ``computer/patches.py`` reads it."""
        return {
            "tiles": np.frombuffer(b"".join(self._tile_ids), np.uint8).reshape(-1, TILE, TILE, 3),
            "patches": np.array(self._patches, np.int32).reshape(-1, _SIDE * _SIDE),
            "sprites": sprite_images(self._sprites),
            "hots": np.array([sprite.hot for sprite in self._sprites], np.int16).reshape(-1, 2) - self._in_tile,
            "screen0": np.array(self._screen0, np.int32).reshape(-1, _ROWS * _COLUMNS),
            "pointer0": np.array(self._pointer0, np.int16).reshape(-1, 3),
            "starts": np.array(self._starts, np.int64),
            "events": np.concatenate([np.zeros((0, 4), np.int16), *self._events]),
            "windows": np.concatenate([np.zeros((0, _WINDOWS, _FIELDS), np.int16), *self._windows]),
            "sprite": np.array(self._sprite, np.uint8),
            "delta_starts": np.array(self._delta_starts, np.int64),
            "delta_patch": np.array(self._patch, np.int16),
            "delta_state": np.array(self._state, np.int32),
            "family": np.array(self._family, np.uint8),
            "families": np.array(USERS),
        }


def window_tables(trace: DesktopTrace) -> NDArray[np.int16]:
    """Returns the windows after each event, int16 (T, 4, 11).

    Fields: state, title, task, left, top, width, height (pixels), and the last four as they are when not maximised.
    Rows go from the top of the stack down, then come minimised windows. States: 0 no window, 1 minimised, 2 active,
    3 shown without the keyboard. Titles count from 1; 0 is one that no launcher opens. The windows stay as they were
    where the recording has no list.
    """
    tables = np.zeros((len(trace.events), _WINDOWS, _FIELDS), np.int16)
    for number, windows in sorted(trace.windows.items()):
        table = np.zeros((_WINDOWS, _FIELDS), np.int16)
        for row, window in zip(table, sorted(windows[::-1], key=lambda w: w.minimized), strict=False):
            state = _MINIMIZED if window.minimized else _ACTIVE if window.active else _SHOWN
            title = _TITLES.index(window.title) + 1 if window.title in _TITLES else 0
            row[:3] = state, title, window.task
            sides = window.x, window.y, window.width, window.height
            row[3:] = *sides, *(window.normal or sides)
        tables[number:] = table
    return tables


def sprite_images(sprites: Sequence[Sprite]) -> NDArray[np.uint8]:
    """Returns the pointer's images, filled up with nothing, uint8 (K, 32, 32, 4)."""
    images = np.zeros((len(sprites), _SPRITE_SIDE, _SPRITE_SIDE, 4), np.uint8)
    for image, sprite in zip(images, sprites, strict=True):
        height, width = sprite.pixels.shape[:2]
        image[:height, :width] = sprite.pixels
    return images


def _patches(screen: NDArray) -> NDArray:
    """Cuts (240, 320, 3) into (300, 16, 48)."""
    return screen.reshape(_ROWS, PATCH, _COLUMNS, PATCH * 3).swapaxes(1, 2).reshape(-1, PATCH, PATCH * 3)


def build_desktop_shards(
    traces_dir: str | Path, out_dir: str | Path, sessions_per_shard: int = 250, workers: int = 2, progress: bool = True
) -> list[Path]:
    """Reads every recording of a folder and writes the shards ``shard-00000.npz``, ...

    A damaged recording is left out with a warning that names it; shards that exist are written anew.

    Args:
        traces_dir: folder of ``nc-gym collect desktop``.
        out_dir: where the shards go.
        sessions_per_shard: recordings per file.
        workers: parallel processes.
        progress: show a progress bar.

    Returns:
        The shards written, in order.

    Raises:
        ShardError: the disk is full or a worker was killed.
    """
    traces = find_recordings(traces_dir, ".jsonl")
    if not traces:
        raise FileNotFoundError(
            f"no .jsonl file in {traces_dir}; record some first with 'nc-gym collect desktop --out {traces_dir}'"
        )
    return write_shards(traces, Path(out_dir), _build, sessions_per_shard, workers, progress)


def _build(job: Job) -> tuple[Path, list[str]]:
    """Writes one shard; returns its path and what is wrong with the recordings that were left out."""
    path, traces = job
    builder, damaged, sound = _ShardBuilder(), [], 0
    for trace in traces:
        try:
            builder.add(read_trace(trace), trace)
            sound += 1
        except TraceError as error:
            damaged.append(str(error))
    if not sound:
        path.unlink(missing_ok=True)  # of an earlier build
        return path, damaged
    write_arrays(path, builder.arrays())
    return path, damaged
