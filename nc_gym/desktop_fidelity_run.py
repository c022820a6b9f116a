"""Held-out users on the real desktop, and the same events on another machine, which sees only its own screens.

In: seeds. Out: ``DesktopSessions``, everything that happened on the real desktop, and a ``Film`` of what the other
machine showed. The users choose their events by the real desktop's windows, so it is driven first.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from nc_gym.machines.desktop import XDesktop
from nc_gym.machines.desktop_events import HEIGHT, WIDTH
from nc_gym.machines.machine import Machine
from nc_gym.machines.pointer import Sprite
from nc_gym.machines.window import Window
from nc_gym.traces.desktop_hand import Act
from nc_gym.traces.desktop_mix import DEFAULT_MIX, DesktopUser, make_user, session_user

Screen = NDArray[np.uint8]
_ROWS = 8  # real desktops side by side
_SHAPE = (HEIGHT, WIDTH, 3)


class Film:
    """The screens of N sessions, kept compressed: number 0 is after the boot, number t after event t."""

    def __init__(self, packed: Sequence[Sequence[bytes]] = ()) -> None:
        self._packed = [list(screens) for screens in packed]  # by t, then by session

    def add(self, screens: Screen) -> None:
        """Appends the screens (N, 240, 320, 3) after one more event."""
        self._packed.append([zlib.compress(screen.tobytes(), 1) for screen in screens])

    def screen(self, n: int, t: int) -> Screen:
        """Returns the screen (240, 320, 3) of session ``n`` after event ``t``."""
        return np.frombuffer(zlib.decompress(self._packed[t][n]), np.uint8).reshape(_SHAPE)

    def at(self, t: int) -> Screen:
        """Returns all screens after event ``t``, uint8 (N, 240, 320, 3)."""
        return np.stack([self.screen(n, t) for n in range(len(self._packed[t]))])

    def take(self, rows: NDArray[np.int64]) -> Film:
        """Returns the film of the sessions numbered ``rows``."""
        return Film([[screens[row] for row in rows] for screens in self._packed])

    @classmethod
    def join(cls, films: Sequence[Film]) -> Film:
        """Returns one film of the sessions of all films, in order; all are equally long."""
        return cls([[one for film in films for one in film._packed[t]] for t in range(len(films[0]._packed))])


@dataclass(frozen=True)
class DesktopSessions:
    """N sessions of T events on the real desktop; index 0 of a T + 1 is after the boot.

    Attributes:
        users: kind of user of each session.
        seeds: noise stream of each session's neural row, int64 (N,).
        events: int64 (N, T, 4).
        purposes: what the user meant by each event, (N, T).
        windows: the open windows, lowest first, (N, T + 1).
        pointers: x, y and image of the pointer, int64 (N, T + 1, 3).
        sprites: the pointer's images.
        beyond: share of pixels that each event changed, the pointer's image left aside, float64 (N, T).
        film: the screens, with their pointers.
        broken: sessions whose desktop died or hung and was restarted, bool (N,).
    """

    users: tuple[str, ...]
    seeds: NDArray[np.int64]
    events: NDArray[np.int64]
    purposes: list[list[str]]
    windows: list[list[list[Window]]]
    pointers: NDArray[np.int64]
    sprites: list[Sprite]
    beyond: NDArray[np.float64]
    film: Film
    broken: NDArray[np.bool_]

    def take(self, rows: NDArray[np.int64]) -> DesktopSessions:
        """Returns the sessions numbered ``rows``."""
        users = tuple(self.users[row] for row in rows)
        purposes, windows = ([each[row] for row in rows] for each in (self.purposes, self.windows))
        return DesktopSessions(
            users, self.seeds[rows], self.events[rows], purposes, windows, self.pointers[rows], self.sprites,
            self.beyond[rows], self.film.take(rows), self.broken[rows],
        )  # fmt: skip


def held_out_sessions(count: int, steps: int, seed: int, progress: bool = False) -> DesktopSessions:
    """Plays users of the default mix, who type words and sums of the evaluation split only, on real desktops.

    Args:
        count: how many sessions; those whose desktop broke are left out of what is returned.
        steps: events of each.
        seed: of the users.
        progress: show a progress bar.

    Raises:
        RuntimeError: the desktops of all sessions broke.
    """
    users = tuple(session_user(seed, index, "eval", DEFAULT_MIX) for index in range(count))
    parts = []
    with XDesktop(min(_ROWS, count)) as machine:
        for start in track(range(0, count, _ROWS), "real desktop", disable=not progress):
            indices = range(start, min(start + _ROWS, count))
            players = [make_user(users[index], seed, index, "eval") for index in indices]
            seeds = seed * 1_000_003 + np.array(indices)
            parts.append(record(machine, players, steps, [users[index] for index in indices], seeds))
    sessions = join(parts)
    if sessions.broken.all():
        raise RuntimeError(f"the real desktops of all {count} sessions died or hung; free some memory and try again")
    return sessions.take(np.flatnonzero(~sessions.broken))


def record(
    machine: XDesktop,
    players: Sequence[DesktopUser],
    steps: int,
    users: Sequence[str],
    seeds: NDArray[np.int64],
) -> DesktopSessions:
    """Lets each of N players use one of the first N real desktops for a number of events."""
    count = len(players)
    rows, zeros = np.arange(machine.num_rows) < count, np.zeros(machine.num_rows, np.int64)
    queues = [deque[Act]() for _ in players]
    film, broken = Film(), np.zeros(count, np.bool_)
    events = np.zeros((count, steps, 4), np.int64)
    purposes: list[list[str]] = [[] for _ in players]
    beyond, pointers = np.zeros((count, steps)), np.zeros((count, steps + 1, 3), np.int64)
    machine.reset(rows, zeros, zeros)
    windows = [[machine.windows(n)] for n in range(count)]
    bare = machine.bare_screens()[:count]
    for t in range(steps + 1):
        film.add(machine.screens()[:count])
        pointers[:, t] = machine.pointers()[:count]
        if t == steps:
            break
        for n, (queue, player) in enumerate(zip(queues, players, strict=True)):
            while not queue:
                queue.extend(player.plan(windows[n][t]))
            act = queue.popleft()
            events[n, t] = act.event
            purposes[n].append(act.purpose)
        machine.step(np.pad(events[:, t], ((0, machine.num_rows - count), (0, 0))), rows)
        before, bare = bare, machine.bare_screens()[:count]
        beyond[:, t] = (bare != before).any(3).mean((1, 2))
        broken |= machine.restarted()[:count]
        for n in range(count):
            windows[n].append(machine.windows(n))
    return DesktopSessions(
        tuple(users), seeds, events, purposes, windows, pointers, machine.sprites, beyond, film, broken
    )


def join(parts: Sequence[DesktopSessions]) -> DesktopSessions:
    """Returns the sessions of all parts, in order; all were recorded by one machine, so they share its sprites."""
    seeds, events, pointers, beyond, broken = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("seeds", "events", "pointers", "beyond", "broken")
    )
    users = tuple(user for part in parts for user in part.users)
    purposes = [each for part in parts for each in part.purposes]
    windows = [each for part in parts for each in part.windows]
    film = Film.join([part.film for part in parts])
    return DesktopSessions(users, seeds, events, purposes, windows, pointers, parts[-1].sprites, beyond, film, broken)


def replay(machine: Machine, sessions: DesktopSessions, progress: bool = False) -> Film:
    """Plays the events of N sessions on a machine of N rows from boot 0; returns what it showed."""
    count, steps, _ = sessions.events.shape
    everyone = np.ones(count, np.bool_)
    machine.reset(everyone, sessions.seeds, np.zeros(count, np.int64))
    film = Film()
    film.add(machine.screens())
    for t in track(range(steps), "closed loop", disable=not progress):
        machine.step(sessions.events[:, t], everyone)
        film.add(machine.screens())
    return film
