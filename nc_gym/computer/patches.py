"""A desktop recording as the painter reads it: which 16x16 patches each event changed, from what, and into what.

A patch is a square of tiles; its state is the codes of its tiles. Every change of a patch is an *entry* that points at
the patch's entry before: following the links finds the earlier states of a place, what a window may have covered.
Everything but the window table is found from pixels (as codes).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nc_gym.computer.backing_store import with_backing
from nc_gym.computer.batches import read_arrays, save_whole
from nc_gym.computer.codec import TileCodec
from nc_gym.computer.config import NeuralComputerConfig
from nc_gym.computer.patch_geometry import grid
from nc_gym.computer.window_table import FIELDS, name_sides

MOTION_TILES = 8  # changed tiles that a motion must explain: a digit that moves up in a calculator
MOTION_SHARE = 0.3  # of the changed tiles
POINTER_VOTES = 4  # squares that must have gone as far as the pointer, for a motion to be that one
_SHARD_ARRAYS = (
    "tiles", "patches", "sprites", "hots", "screen0", "pointer0", "starts", "events", "sprite", "delta_starts",
    "delta_patch", "delta_state", "family", "families", "windows",
)  # fmt: skip


@dataclass(frozen=True)
class PatchFile:
    """The S sessions of one shard with E events and M entries; session s has the events ``starts[s]:starts[s+1]``.

    Attributes:
        codes: tile codes of every distinct patch state, int16 (D, 16).
        starts: int64 (S + 1,).
        events: int16 (E, 4).
        sprite: image of the pointer after each event, int16 (E,).
        pointer0: column and row (tiles) and image of the pointer after the boot, int16 (S, 3).
        motion: tile rows and columns by which a part of the screen moved, int16 (E, 2); 0, 0 if none did.
        boot: the session's first entry; one per patch follow, int64 (S,).
        lo: first entry of each event, int64 (E,).
        hi: end of its entries, int64 (E,).
        state: what the patch became, int32 (M,).
        place: which patch, int16 (M,).
        earlier: the patch's entry before, its own number if there is none, int32 (M,).
        when: number of the event in its session, -1 for the boot's, int16 (M,).
        family: kind of user of each session, uint8 (S,).
        families: names of the kinds of users.
        windows: the window table after each event (``window_table.py``), uint8 (E, K, FIELDS).
        said: the same as the computer that played said it, uint8 (E, K, FIELDS); the real one says what is true.
        goal_lo: first goal of each event, int64 (E,): what the real computer drew, which are the entries themselves but
            in sessions that a neural computer played (``rollouts.py``).
        goal_hi: end of its goals, int64 (E,).
        goal_state: what the patch should have become, int32 (G,).
        goal_place: which patch, int16 (G,).
        backed_lo: first of the patches at each event that the windows' backing stores show otherwise than the screen
            before it does, int64 (E,) (``backing_store.py``).
        backed_hi: end of them, int64 (E,).
        backed_state: how they show the patch, int32 (B,).
        backed_place: which patch, int16 (B,).
    """

    codes: NDArray[np.int16]
    starts: NDArray[np.int64]
    events: NDArray[np.int16]
    sprite: NDArray[np.int16]
    pointer0: NDArray[np.int16]
    motion: NDArray[np.int16]
    boot: NDArray[np.int64]
    lo: NDArray[np.int64]
    hi: NDArray[np.int64]
    state: NDArray[np.int32]
    place: NDArray[np.int16]
    earlier: NDArray[np.int32]
    when: NDArray[np.int16]
    family: NDArray[np.uint8]
    families: NDArray[np.str_]
    windows: NDArray[np.uint8]
    said: NDArray[np.uint8]
    goal_lo: NDArray[np.int64]
    goal_hi: NDArray[np.int64]
    goal_state: NDArray[np.int32]
    goal_place: NDArray[np.int16]
    backed_lo: NDArray[np.int64]
    backed_hi: NDArray[np.int64]
    backed_state: NDArray[np.int32]
    backed_place: NDArray[np.int16]

    @classmethod
    def load(cls, path: Path) -> PatchFile:
        """Reads what ``link_patches`` or ``rollouts.py`` wrote."""
        with np.load(path) as f:
            arrays = {name: f[name] for name in f.files}
        goals = {f"goal_{name}": arrays[name] for name in ("lo", "hi", "state", "place")}
        return cls(**goals | {"said": arrays["windows"]} | arrays)

    def shown(self, session: int, num_patches: int) -> NDArray[np.int64]:
        """Returns which entry every patch shows before each event and after the last, int64 (events + 1, patches)."""
        first, end = int(self.starts[session]), int(self.starts[session + 1])
        boot = np.arange(self.boot[session], self.boot[session] + num_patches)
        entries = np.concatenate([boot, np.arange(self.lo[first], self.hi[end - 1])])
        return _latest(entries, self.when[entries], self.place[entries], (end - first + 1, num_patches))

    def goal_shown(self, session: int, num_patches: int) -> NDArray[np.int32]:
        """Returns which state every patch should show before each event and after the last (events + 1, patches)."""
        first, end = int(self.starts[session]), int(self.starts[session + 1])
        goals = np.arange(self.goal_lo[first], self.goal_hi[end - 1])
        when = np.repeat(np.arange(end - first), self.goal_hi[first:end] - self.goal_lo[first:end])
        latest = _latest(goals, when, self.goal_place[goals], (end - first + 1, num_patches))
        boot = self.state[self.boot[session] : self.boot[session] + num_patches]
        return np.where(latest < 0, boot, self.goal_state[latest])

    def backed(self, session: int, at: NDArray[np.int64], shown: NDArray[np.int64]) -> NDArray[np.int32]:
        """Returns as which state the backing stores show every patch at some events of a session, int32 (A, patches).

        Args:
            session: which one.
            at: numbers of the events, (A,).
            shown: which entry each patch shows before them, (A, patches).
        """
        states = self.state[shown]
        for row, event in zip(states, self.starts[session] + at, strict=True):
            backed = slice(self.backed_lo[event], self.backed_hi[event])
            row[self.backed_place[backed]] = self.backed_state[backed]
        return states


def _latest(number: NDArray[np.int64], when: NDArray, place: NDArray, shape: tuple[int, int]) -> NDArray[np.int64]:
    """Returns the highest of ascending numbers at each place up to each event, -1 where there was none.

    Args:
        number: (M,).
        when: the event after which each holds, -1 for what holds from the beginning, (M,).
        place: (M,).
        shape: events + 1 and places.
    """
    latest = np.full(shape, -1, np.int64)
    latest[when.astype(np.int64) + 1, place] = number
    return np.maximum.accumulate(latest, 0)


def read_patch_shard(path: Path) -> dict[str, NDArray]:
    """Reads all arrays of one shard of the desktop."""
    return read_arrays(path, _SHARD_ARRAYS)


def find_motion(
    before: NDArray[np.int64], after: NDArray[np.int64], pointer: tuple[int, int] = (0, 0)
) -> tuple[int, int]:
    """Returns the motion (rows, columns of tiles) that explains most changed tiles, or (0, 0) if none explains many.

    Squares of 2x2 tiles that are unique before and stand elsewhere after vote for where they went. What went as far as
    the pointer went with it, even if it explains few tiles: most of a window may have been dragged off the screen.

    Args:
        before: codes (rows, columns).
        after: codes of the next screen.
        pointer: how far the pointer went, rows and columns of tiles.
    """
    changed = before != after
    n = int(changed.sum())
    if n < MOTION_TILES:
        return 0, 0
    columns = before.shape[1]
    old, new = _squares(before), _squares(after)
    values, index, counts = np.unique(old, return_index=True, return_counts=True)
    places = np.flatnonzero(changed[:-1, :-1])
    wide = columns - 1
    found = np.searchsorted(values, new.reshape(-1)[places]).clip(max=len(values) - 1)
    unique = (values[found] == new.reshape(-1)[places]) & (counts[found] == 1)
    source, target = index[found[unique]], places[unique]
    down, right = target // wide - source // wide, target % wide - source % wide
    if pointer != (0, 0) and int(((down == pointer[0]) & (right == pointer[1])).sum()) >= POINTER_VOTES:
        return pointer
    votes, times = np.unique((down * 1000 + right)[(down != 0) | (right != 0)], return_counts=True)
    if not len(votes):
        return 0, 0
    best = int(votes[times.argmax()])
    dx = (best + 500) % 1000 - 500
    dy = (best - dx) // 1000
    moved = shift_tiles(before, dy, dx)
    explained = int((moved == after)[changed].sum())
    return (dy, dx) if explained >= max(MOTION_TILES, MOTION_SHARE * n) else (0, 0)


def _squares(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Names every square of 2x2 codes (rows - 1, columns - 1)."""
    pairs = codes[:, :-1] * 32768 + codes[:, 1:]
    return pairs[:-1] * 1_000_003_000 + pairs[1:]


def shift_tiles(codes: NDArray[np.int64], dy: int, dx: int) -> NDArray[np.int64]:
    """Returns codes (rows, columns) moved down by ``dy`` and right by ``dx``; -1 where nothing came from."""
    rows, columns = codes.shape
    out = np.full_like(codes, -1)
    to_r, to_c = slice(max(dy, 0), rows + min(dy, 0)), slice(max(dx, 0), columns + min(dx, 0))
    from_r, from_c = slice(max(-dy, 0), rows - max(dy, 0)), slice(max(-dx, 0), columns - max(dx, 0))
    out[to_r, to_c] = codes[from_r, from_c]
    return out


def link_patches(path: Path, codec: TileCodec, sprites: torch.Tensor) -> Path:
    """Turns one shard into a ``PatchFile`` beside it, made only if it is not there yet for this codec.

    Args:
        path: the shard.
        codec: names the tiles.
        sprites: uint8 (K, 32, 32, 4), names the pointer's images.
    """
    c = codec.config
    key = (
        codec.prototypes.numpy().tobytes()
        + sprites.numpy().tobytes()
        + repr((c.patch, c.num_patches, MOTION_TILES, MOTION_SHARE, POINTER_VOTES, FIELDS, c.frame)).encode()
    )
    out = path.with_name(f"patches-{path.stem[6:]}-{hashlib.sha256(key).hexdigest()[:12]}.npz")
    if out.exists() and out.stat().st_mtime >= path.stat().st_mtime:  # a shard may have been built anew
        return out
    data = read_patch_shard(path)
    tile_codes = codec.encode_tiles(torch.from_numpy(data["tiles"])).numpy()
    codes = tile_codes[data["patches"]].astype(np.int16)  # (D, 16)
    S, starts, counts = len(data["screen0"]), data["starts"], np.diff(data["delta_starts"])
    entries: dict[str, list[NDArray]] = {"state": [], "place": [], "when": [], "earlier": []}
    boot, lo, motion = np.zeros(S, np.int64), np.zeros(len(counts), np.int64), np.zeros((len(counts), 2), np.int16)
    pointer0 = data["pointer0"].copy()
    pointer0[:, :2] //= c.tile_width
    length = 0
    for s in range(S):
        events = slice(int(starts[s]), int(starts[s + 1]))
        deltas = slice(data["delta_starts"][events.start], data["delta_starts"][events.stop])
        place = np.concatenate([np.arange(c.num_patches), data["delta_patch"][deltas]])
        state = np.concatenate([data["screen0"][s], data["delta_state"][deltas]])
        boot[s] = length
        lo[events] = length + c.num_patches + np.cumsum([0, *counts[events]])[:-1]
        entries["place"].append(place.astype(np.int16))
        entries["state"].append(state.astype(np.int32))
        when = np.repeat(np.arange(events.stop - events.start), counts[events])
        entries["when"].append(np.concatenate([np.full(c.num_patches, -1), when]).astype(np.int16))
        entries["earlier"].append((length + same_before(place)).astype(np.int32))
        pointer = np.concatenate([pointer0[s : s + 1, :2], data["events"][events, :2]]).astype(np.int64)
        motion[events] = _motions(codes, state, place, counts[events], np.diff(pointer[:, ::-1], axis=0), c)
        length += len(place)
    named = name_sprites(data["sprites"], sprites.numpy())
    pointer0[:, 2] = named[pointer0[:, 2]]
    arrays = {name: np.concatenate(parts) for name, parts in entries.items()}
    arrays |= {name: data[name] for name in ("starts", "events", "family", "families")}
    arrays |= {"codes": codes, "sprite": named[data["sprite"]], "pointer0": pointer0, "motion": motion}
    arrays |= {"boot": boot, "lo": lo, "hi": lo + counts, "windows": name_sides(data["windows"], c.tile_width)}
    save_whole(out, with_backing(arrays, c))
    return out


def same_before(place: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns for each entry the last one before it at the same place, or itself."""
    order = np.argsort(place, kind="stable")
    before = order.copy()
    same = place[order][1:] == place[order][:-1]
    before[1:][same] = order[:-1][same]
    out = np.empty_like(order)
    out[order] = before
    return out


def _motions(
    codes: NDArray[np.int16], state: NDArray[np.int32], place: NDArray[np.int64], counts: NDArray[np.int64],
    pointer: NDArray[np.int64], config: NeuralComputerConfig,
) -> NDArray[np.int16]:  # fmt: skip
    """Finds the motion of every event, by which the pointer goes so far (E, 2), of one session.

    The session's entries begin with the boot's.
    """
    n = config.num_patches
    canvas, motion, end = codes[state[:n]].astype(np.int64), np.zeros((len(counts), 2), np.int16), n
    for e, count in enumerate(counts):
        if count:
            changed = slice(end, end + count)
            after = canvas.copy()
            after[place[changed]] = codes[state[changed]]
            if count * config.patch**2 >= MOTION_TILES:
                motion[e] = find_motion(
                    grid(canvas, config), grid(after, config), (int(pointer[e, 0]), int(pointer[e, 1]))
                )
            canvas, end = after, end + count
    return motion


def name_sprites(images: NDArray[np.uint8], known: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Returns the number of the known image that is nearest to each image."""
    difference = np.abs(images[:, None].astype(np.int32) - known[None]).sum((2, 3, 4))
    return difference.argmin(1).astype(np.int16)
