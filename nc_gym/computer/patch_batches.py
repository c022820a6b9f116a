"""Training batches of a computer with a pointer: whole sessions for the event log, some events for the painter.

In: shards of the desktop. Out: dicts of tensors for ``patch_objective.losses``; every distinct patch state of a
batch is listed once, in ``states``, and everything else refers to it by number.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nc_gym.computer.batches import groups_of_like_length
from nc_gym.computer.codec import fit_codec
from nc_gym.computer.difficulty import Difficulty
from nc_gym.computer.objective import Batch
from nc_gym.computer.patch_geometry import tiles_near
from nc_gym.computer.patch_mistakes import (
    FADED,
    MOST_STALE,
    RECENT,
    known_sprites,
    known_tables,
    known_tiles,
    stale_patches,
)
from nc_gym.computer.patch_network import PatchNetwork
from nc_gym.computer.patches import PatchFile, link_patches, read_patch_shard
from nc_gym.computer.window_table import BOXES

SPARE_PATCHES = 4  # unchanged patches that the painter gets per event, as a scout may be wrong
MOST_PATCHES = 40  # changed patches that the painter gets per event, drawn at random: it paints each by itself
QUIET_WEIGHT = 0.3  # of an event that changes nothing, against n ** 0.2 of one that changes n patches


def fit_patch_codec(network: PatchNetwork, shards: list[Path], seed: int) -> None:
    """Finds the codec's tiles and the pointer's images, most frequent first, in place."""
    tiles: dict[bytes, int] = {}
    images: dict[tuple[bytes, bytes], int] = {}
    for path in shards:
        shard = read_patch_shard(path)
        states = np.concatenate([shard["delta_state"], shard["screen0"].reshape(-1)])
        of_patch = np.bincount(states, minlength=len(shard["patches"]))
        counts = np.bincount(
            shard["patches"].reshape(-1), np.repeat(of_patch, shard["patches"].shape[1]), len(shard["tiles"])
        )
        for tile, n in zip(shard["tiles"], counts, strict=True):
            tiles[tile.tobytes()] = tiles.get(tile.tobytes(), 0) + int(n)
        shown = np.bincount(shard["sprite"], minlength=len(shard["sprites"]))
        for image, hot, n in zip(shard["sprites"], shard["hots"].astype(np.int64), shown, strict=True):
            key = image.tobytes(), hot.tobytes()
            images[key] = images.get(key, 0) + int(n)
    shape = network.codec.prototypes.shape[1:]
    found = np.frombuffer(b"".join(tiles), np.uint8).reshape(-1, *shape)
    fit_codec(network.codec, found, np.array(list(tiles.values())), seed)
    ranked = sorted(images, key=lambda key: -images[key])[: network.config.num_sprites]
    for k, (image, hot) in enumerate(ranked):
        network.sprites[k] = torch.from_numpy(np.frombuffer(image, np.uint8).reshape(network.sprites[k].shape).copy())
        network.hots[k] = torch.from_numpy(np.frombuffer(hot, np.int64).copy())


@dataclass
class _Part:
    """The arrays of one session in a batch, entries still numbered as in its file."""

    file: int
    log: dict[str, NDArray]
    painter: dict[str, NDArray]


class PatchData:
    """All sessions of some shards, drawn in random batches.

    Args:
        shards: shard files of the desktop.
        network: its codec and images name what the shards hold.
        max_events: longer sessions are cut.
        workers: processes that link shards not yet cached.
        rolled: further files, of sessions that a computer played by itself (``rollouts.py``).
    """

    def __init__(
        self, shards: list[Path], network: PatchNetwork, max_events: int, workers: int = 2, rolled: Sequence[Path] = ()
    ) -> None:
        self.config = network.config
        jobs = [(path, network.codec, network.sprites) for path in shards]
        if workers > 1 and len(jobs) > 1:
            with multiprocessing.get_context("spawn").Pool(workers) as pool:
                paths = pool.starmap(link_patches, jobs, chunksize=1)
        else:
            paths = [link_patches(*job) for job in jobs]
        self.files = [PatchFile.load(p) for p in [*paths, *rolled]]
        self.sessions = [(f, s) for f, file in enumerate(self.files) for s in range(len(file.family))]
        self.max_events = max_events
        self.difficulty = Difficulty(network.config)

    def batch(self, chosen: list[int], painted: int, generator: torch.Generator, stale: bool = False) -> Batch:
        """Returns a batch of sessions, with about ``painted`` of their events for the painter.

        Args:
            chosen: numbers of the sessions.
            painted: events for the painter, in all.
            generator: source of choices.
            stale: let some of the painter's events see a few patches as they were, as the computer may in its closed
                loop; they are to be mended.
        """
        rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        share = max(1, painted // len(chosen))
        parts = [self._part(*self.sessions[i], share, rng, stale) for i in chosen]
        T = max(len(part.log["event"]) for part in parts)
        codes, number = self._number_states(parts)
        columns: dict[str, list[NDArray]] = {}
        log = {name: _pad([part.log[name] for part in parts], T) for name in parts[0].log if name in _PER_TOKEN}
        valid = np.arange(T) < np.array([len(part.log["event"]) for part in parts])[:, None]
        events = 0
        for b, part in enumerate(parts):
            file = self.files[part.file]
            for name in ("target", "backed", "damage_state", "damage_before"):
                source = part.log if name.startswith("damage") else part.painter
                columns.setdefault(name, []).append(number(part.file, source[name]))
            for name in ("change_state", "canvas", "version"):
                source = part.log if name == "change_state" else part.painter
                columns.setdefault(name, []).append(number(part.file, file.state[source[name]]))
            columns.setdefault("change_place", []).append(file.place[part.log["change_state"]])
            columns.setdefault("damage_place", []).append(part.log["damage_place"])
            columns.setdefault("damage_token", []).append(part.log["damage_event"] + b * T)
            columns.setdefault("change_token", []).append(part.log["change_event"] + b * T)
            columns.setdefault("at", []).append(part.painter["at"] + b * T)
            columns.setdefault("patch_event", []).append(part.painter["patch_event"] + events)
            for name in ("place", "age", "weight", "kind", "lost"):
                columns.setdefault(name, []).append(part.painter[name])
            events += len(part.painter["at"])
        arrays = log | {name: np.concatenate(values) for name, values in columns.items()}
        arrays |= {"valid": valid, "states": codes}
        return {
            name: torch.from_numpy(array.astype(np.int64) if array.dtype.kind in "iu" else array)
            for name, array in arrays.items()
        }

    def batches(self, events: int, painted: int, generator: torch.Generator) -> Iterator[Batch]:
        """Yields random batches of whole sessions with about ``events`` events, without end."""
        lengths = np.concatenate([np.diff(file.starts) for file in self.files]).clip(max=self.max_events)
        while True:
            for chosen in groups_of_like_length(lengths, events, generator):
                yield self.batch(chosen, painted, generator, stale=True)

    def _part(self, f: int, s: int, painted: int, rng: np.random.Generator, stale: bool) -> _Part:
        """Gathers one session."""
        file, c = self.files[f], self.config
        first = int(file.starts[s])
        T = min(int(file.starts[s + 1]) - first, self.max_events)
        events, shown = file.events[first : first + T].astype(np.int64), file.shown(s, c.num_patches)[: T + 1]
        pointers = np.concatenate([file.pointer0[s : s + 1, :2], events[:, :2]]).astype(np.int64)
        sprites = np.concatenate([file.pointer0[s : s + 1, 2], file.sprite[first : first + T]])
        patch, inner, inside = (x.numpy() for x in tiles_near(c, torch.from_numpy(events[:, :2])))

        def tiles(when: NDArray) -> NDArray:
            return np.where(inside, file.codes[file.state[shown[when[:, None], patch]], inner], c.num_codes)

        near = tiles(np.arange(T))
        if stale:
            near = known_tiles(near, tiles((np.arange(T) - rng.integers(1, FADED + 1, T)).clip(0)), rng)
        counts = file.goal_hi[first : first + T] - file.goal_lo[first : first + T]
        windows = file.windows[first : first + T]
        known = known_tables(file.said[first : first + T], rng if stale else None)
        held, held_at = _held(known, events)
        painter = self._painted(file, s, first, events, counts, shown, painted, rng, stale)
        painter["backed"] = file.backed(s, painter["at"], painter["canvas"])  # kept from the screens that it had
        changed = np.setdiff1d(np.arange(file.lo[first], file.hi[first + T - 1]), painter.pop("missed"))
        goals, of_event = slice(file.goal_lo[first], file.goal_hi[first + T - 1]), np.repeat(np.arange(T), counts)
        goal_place = file.goal_place[goals].astype(np.int64)
        log = {
            "event": events,
            "moved": np.diff(pointers, axis=0),
            "before": pointers[:-1],
            "sprite_in": known_sprites(sprites[:-1], rng if stale else None),
            "sprite": sprites[1:],
            "near": near,
            "motion": file.motion[first : first + T],
            "changes": (counts > 0).astype(np.int64),
            "windows": windows,
            "windows_in": known,
            "held": held,
            "since": events[:, :2] - held_at[:, :2],
            "last": held_at[:, 2],
            "change_state": changed,
            "change_event": file.when[changed].astype(np.int64),
            "damage_place": goal_place,
            "damage_event": of_event,
            "damage_state": file.goal_state[goals],
            "damage_before": file.state[shown[of_event, goal_place]],
        }
        return _Part(f, log, painter)

    def _painted(
        self, file: PatchFile, s: int, first: int, events: NDArray, counts: NDArray, shown: NDArray,
        painted: int, rng: np.random.Generator, stale: bool,
    ) -> dict[str, NDArray]:  # fmt: skip
        """Chooses events of a session for the painter, hard ones more often, and gathers what it needs.

        Patches that a computer drew wrong lately are to be mended, as are ``stale`` ones, which it is made to have
        missed (``missed`` lists what it then never drew). Other lost patches, not what they should be, are asked for
        only where the event draws them; whether they count as damage otherwise is left open.
        """
        kinds = self.difficulty.kinds(events, counts)
        should = file.goal_shown(s, self.config.num_patches)[: len(shown)]
        lost = file.state[shown] != should
        weight = np.where(counts > 0, counts.clip(min=1) ** 0.2, QUIET_WEIGHT) * self.difficulty.weights(kinds)
        number = min(painted, len(counts))
        at = np.sort(rng.choice(len(counts), number, replace=False, p=weight / weight.sum()))
        true = shown[at]
        missed = stale_patches(file, true, at, counts[at] > 0, rng) & stale
        canvas = np.where(missed, file.earlier[true], true)
        fresh = (file.when[true] >= 0) & (file.when[true] >= at[:, None] - RECENT)
        event, place, target, weight_of = [], [], [], []
        for a, t in enumerate(at):
            goals = np.arange(file.goal_lo[first + t], file.goal_hi[first + t])
            lost[t, file.goal_place[goals]] = False
            wrong = np.flatnonzero(missed[a])
            if stale and len(goals):
                wrong = np.concatenate([wrong, rng.permutation(np.flatnonzero(lost[t] & fresh[a]))[:MOST_STALE]])
            lost[t, wrong] = False
            spare = np.concatenate([wrong, rng.choice(self.config.num_patches, SPARE_PATCHES, replace=False)])
            spare = np.setdiff1d(spare, np.concatenate([file.goal_place[goals], np.flatnonzero(lost[t])]))
            n = len(goals)
            if n > MOST_PATCHES:
                goals = rng.choice(goals, MOST_PATCHES, replace=False)
            patches = len(goals) + len(spare)
            weight_of.append(np.full(patches, max(n, 1) ** 0.3 / max(patches, 1)))  # or windows would drown typing
            event.append(np.full(patches, a))
            place.append(np.concatenate([file.goal_place[goals].astype(np.int64), spare]))
            target.append(np.concatenate([file.goal_state[goals], should[t, spare]]))
        of_event, places = np.concatenate(event), np.concatenate(place)
        entry = canvas[of_event, places]
        version, age = [], []
        for _ in range(self.config.versions):
            before = file.earlier[entry]
            version.append(before)
            age.append(np.where(before == entry, -1, at[of_event] - file.when[before]))
            entry = before
        return {
            "at": at, "canvas": canvas, "missed": true[missed], "patch_event": of_event, "place": places,
            "target": np.concatenate(target), "version": np.stack(version, 1), "age": np.stack(age, 1),
            "weight": np.concatenate(weight_of), "kind": kinds[at], "lost": lost[at],
        }  # fmt: skip

    def _number_states(self, parts: list[_Part]):  # type: ignore[no-untyped-def]  # array and a local function
        """Lists the distinct states of a batch; returns their codes (U, 16) and what numbers them."""
        offsets = np.cumsum([0, *(len(file.codes) for file in self.files)])
        used = np.unique(
            np.concatenate(
                [
                    offsets[part.file] + states.reshape(-1)
                    for part in parts
                    for states in (
                        part.painter["target"],
                        part.painter["backed"],
                        part.log["damage_state"],
                        part.log["damage_before"],
                        self.files[part.file].state[part.log["change_state"]],
                        *(self.files[part.file].state[part.painter[n]] for n in ("canvas", "version")),
                    )
                ]
            )
        )
        of_file = np.searchsorted(offsets, used, side="right") - 1
        codes = np.stack([self.files[f].codes[u - offsets[f]] for f, u in zip(of_file, used, strict=True)])
        return codes, lambda file, state: np.searchsorted(used, offsets[file] + state)


_PER_TOKEN = (
    "event", "moved", "before", "sprite_in", "sprite", "near", "motion", "changes", "windows", "windows_in", "held",
    "since", "last",
)  # fmt: skip


def _held(known: NDArray[np.uint8], events: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Returns the windows' boxes (T, K, 4) after the last event with a button before each event, and that event (T, 3).

    Args:
        known: the tables before each event, (T, K, FIELDS).
        events: (T, 4).
    """
    last = np.maximum.accumulate(np.where(events[:, 2] > 0, np.arange(len(events)), -1))
    last = np.concatenate([[-1], last[:-1]])
    none = last < 0
    held = known[(last + 1).clip(max=len(known) - 1)][..., BOXES]
    return np.where(none[:, None, None], 0, held), np.where(none[:, None], 0, events[last, :3])


def _pad(arrays: list[NDArray], length: int) -> NDArray:
    """Stacks (T, ...) arrays, zeros behind the shorter ones."""
    return np.stack([np.concatenate([a, np.zeros((length - len(a), *a.shape[1:]), a.dtype)]) for a in arrays])
