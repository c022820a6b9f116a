"""Runs a neural terminal beside real bash: the same boot and the same events in both, and everything both then showed.

In: events of held-out users. Out: a ``Run`` with the characters and cursors that one reader finds in the pixels of
either machine after every event. The neural machine sees nothing but its own screens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from nc_gym.machines.font import CELL_HEIGHT, CELL_WIDTH
from nc_gym.machines.machine import Machine
from nc_gym.machines.terminal import BashTerminal
from nc_gym.reader import Reader
from nc_gym.traces.users import DEFAULT_MIX, session_events, session_user

Screen = NDArray[np.uint8]


@dataclass(frozen=True)
class Sessions:
    """What N users type, T events each.

    Attributes:
        users: kind of user of each session.
        events: int64 (N, T).
        families: command family of each Enter event, 0 for other events, uint8 (N, T).
        seeds: noise stream of each session's neural row, int64 (N,).
    """

    users: tuple[str, ...]
    events: NDArray[np.int64]
    families: NDArray[np.uint8]
    seeds: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> Sessions:
        """Returns the sessions numbered ``rows``."""
        users = tuple(self.users[row] for row in rows)
        return Sessions(users, self.events[rows], self.families[rows], self.seeds[rows])


def held_out_sessions(count: int, steps: int, seed: int) -> Sessions:
    """Returns sessions of the default mix of users, who type words of the evaluation split only."""
    users = tuple(session_user(seed, index, "eval", DEFAULT_MIX) for index in range(count))
    pairs = [session_events(user, seed, index, "eval", steps) for index, user in enumerate(users)]
    typed = np.array(pairs, np.int64).reshape(count, steps, 2)
    seeds = seed * 1_000_003 + np.arange(count)
    return Sessions(users, typed[..., 0], typed[..., 1].astype(np.uint8), seeds)


@dataclass(frozen=True)
class Readings:
    """What the reader saw on one machine; index 0 is after the boot, index t after event t.

    Attributes:
        chars: uint8 (N, T + 1, rows, columns).
        cursors: int64 (N, T + 1, 2).
    """

    chars: NDArray[np.uint8]
    cursors: NDArray[np.int64]

    @classmethod
    def blank(cls, count: int, screens: int, rows: int, columns: int) -> Readings:
        """Returns readings still to be filled in."""
        chars = np.zeros((count, screens, rows, columns), np.uint8)
        return cls(chars, np.zeros((count, screens, 2), np.int64))

    def take(self, rows: NDArray[np.int64]) -> Readings:
        """Returns the sessions numbered ``rows``."""
        return Readings(self.chars[rows], self.cursors[rows])


@dataclass(frozen=True)
class Divergence:
    """The first screens on which a session's two machines disagree, uint8 (H, W, 3), after event ``step``."""

    step: int
    neural: Screen
    real: Screen


@dataclass(frozen=True)
class Run:
    """N sessions on both machines.

    Attributes:
        sessions: what was typed.
        neural: what the neural machine showed.
        real: what the real machine showed.
        pixels: whether all pixels were equal, bool (N, T + 1).
        divergences: each session's first disagreement, None if it has none.
        outputs: what each real shell printed, after the boot and after each event.
        broken: sessions whose real shell died or hung and was restarted, bool (N,).
    """

    sessions: Sessions
    neural: Readings
    real: Readings
    pixels: NDArray[np.bool_]
    divergences: list[Divergence | None]
    outputs: list[list[bytes]]
    broken: NDArray[np.bool_]

    @property
    def exact(self) -> NDArray[np.bool_]:
        """Whether all characters and the cursor are equal, bool (N, T + 1)."""
        return self.same_chars.all((2, 3)) & self.same_cursor

    @property
    def same_chars(self) -> NDArray[np.bool_]:
        """Which characters are equal, bool (N, T + 1, rows, columns)."""
        return self.neural.chars == self.real.chars

    @property
    def same_cursor(self) -> NDArray[np.bool_]:
        """Whether the cursor is at the same place, bool (N, T + 1)."""
        return (self.neural.cursors == self.real.cursors).all(2)

    def take(self, rows: NDArray[np.int64]) -> Run:
        """Returns the sessions numbered ``rows``."""
        divergences = [self.divergences[row] for row in rows]
        outputs = [self.outputs[row] for row in rows]
        return Run(
            self.sessions.take(rows), self.neural.take(rows), self.real.take(rows), self.pixels[rows], divergences,
            outputs, self.broken[rows],
        )  # fmt: skip


def closed_loop(neural: Machine, real: BashTerminal, sessions: Sessions, progress: bool = False) -> Run:
    """Plays N sessions on two machines of N rows each, from boot 0.

    Args:
        neural: the machine to judge; it is given events and nothing else.
        real: the machine that is right.
        sessions: what is typed.
        progress: show a progress bar.
    """
    count, steps = sessions.events.shape
    everyone, boots = np.ones(count, np.bool_), np.zeros(count, np.int64)
    readers = [Reader(count, machine.screen_shape) for machine in (neural, real)]
    shape = (count, steps + 1, readers[0].rows, readers[0].columns)
    pixels = np.zeros((count, steps + 1), np.bool_)
    run = Run(
        sessions, Readings.blank(*shape), Readings.blank(*shape), pixels, [None] * count, [[] for _ in range(count)],
        np.zeros(count, np.bool_),
    )  # fmt: skip
    for machine in (neural, real):
        machine.reset(everyone, sessions.seeds, boots)
    for t in track(range(steps + 1), "closed loop", disable=not progress):
        if t:
            for machine in (neural, real):
                machine.step(sessions.events[:, t - 1], everyone)
        _observe(run, t, neural.screens(), real.screens(), readers)
        run.broken[:] |= real.restarted()
        for row, output in enumerate(real.output()):
            run.outputs[row].append(output)
    return run


def _observe(run: Run, t: int, neural: Screen, real: Screen, readers: Sequence[Reader]) -> None:
    """Reads the screens (N, H, W, 3) after event ``t`` into ``run``."""
    for readings, screens, reader in zip((run.neural, run.real), (neural, real), readers, strict=True):
        readings.chars[:, t], readings.cursors[:, t] = reader.read(screens)
    run.pixels[:, t] = (neural == real).reshape(len(neural), -1).all(1)
    same = (run.neural.chars[:, t] == run.real.chars[:, t]).all((1, 2))
    same &= (run.neural.cursors[:, t] == run.real.cursors[:, t]).all(1)
    for row in np.flatnonzero(~same):
        if run.divergences[row] is None:
            run.divergences[row] = Divergence(t, neural[row].copy(), real[row].copy())


def join(runs: Sequence[Run]) -> Run:
    """Returns the sessions of all runs, in order, without those whose real shell broke.

    Raises:
        RuntimeError: no session is left.
    """
    sessions = Sessions(
        tuple(user for run in runs for user in run.sessions.users),
        *(np.concatenate([getattr(run.sessions, name) for run in runs]) for name in ("events", "families", "seeds")),
    )
    sides = [
        Readings(np.concatenate([each.chars for each in side]), np.concatenate([each.cursors for each in side]))
        for side in ([run.neural for run in runs], [run.real for run in runs])
    ]
    pixels, broken = (np.concatenate([getattr(run, name) for run in runs]) for name in ("pixels", "broken"))
    divergences = [divergence for run in runs for divergence in run.divergences]
    outputs = [output for run in runs for output in run.outputs]
    if broken.all():
        raise RuntimeError(
            f"the real shells of all {len(broken)} sessions died or hung; free some memory and try again"
        )
    return Run(sessions, sides[0], sides[1], pixels, divergences, outputs, broken).take(np.flatnonzero(~broken))


def replay(machine: Machine, sessions: Sessions) -> None:
    """Plays the events of N sessions on a machine of N rows from boot 0."""
    count, steps = sessions.events.shape
    everyone = np.ones(count, np.bool_)
    machine.reset(everyone, sessions.seeds, np.zeros(count, np.int64))
    for t in range(steps):
        machine.step(sessions.events[:, t], everyone)


def idle_changes(
    machine: Machine,
    noop: NDArray[np.int64],
    noops: int,
    changed: Callable[[Screen, Screen], NDArray[np.int64]],
    progress: bool = False,
) -> NDArray[np.int64]:
    """Leaves a machine of N rows alone.

    Args:
        machine: a machine that has been used so far.
        noop: the event of each row that does nothing, int64 (N, ...).
        noops: how often it follows.
        changed: counts what differs between the screens before and after, both uint8 (N, H, W, 3): int64 (N,).
        progress: show a progress bar.

    Returns:
        What the no-ops changed, counted over all of them, int64 (N,).
    """
    everyone = np.ones(len(noop), np.bool_)
    changes = np.zeros(len(noop), np.int64)
    before = machine.screens()
    for _ in track(range(noops), "idle", disable=not progress):
        machine.step(noop, everyone)
        after = machine.screens()
        changes += changed(before, after)
        before = after
    return changes


def changed_cells(before: Screen, after: Screen) -> NDArray[np.int64]:
    """Returns how many cells differ in any pixel, int64 (N,), of screens uint8 (N, H, W, 3)."""
    count, height, width, _ = before.shape
    cells = (count, height // CELL_HEIGHT, CELL_HEIGHT, width // CELL_WIDTH, CELL_WIDTH * 3)
    return (before != after).reshape(cells).any((2, 4)).sum((1, 2))
