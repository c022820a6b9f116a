"""Records synthetic users on the real desktop: see ``desktop_trace.py`` for the files, ``collecting.py`` for the rest.

A session counts as recorded when its .jsonl file is there, which is written last.
"""

from __future__ import annotations

import subprocess
from collections import deque
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nc_gym.machines import desktop_box
from nc_gym.machines.desktop import XDesktop
from nc_gym.machines.desktop_events import HEIGHT, WIDTH
from nc_gym.traces.collecting import Batch, Recording, collect, session_path
from nc_gym.traces.desktop_hand import Act
from nc_gym.traces.desktop_mix import DEFAULT_MIX, USERS, make_user, session_user
from nc_gym.traces.desktop_trace import DesktopTrace, ScreenWriter, read_trace, write_trace
from nc_gym.traces.words import Split

_SUFFIX = ".jsonl"
_ROWS_PER_WORKER = 4
_DISPLAY = f"Xvfb {WIDTH}x{HEIGHT}x24 in bubblewrap: no network, private home, limits"


def trace_path(out: Path, index: int) -> Path:
    """Returns where session ``index`` of the recording in ``out`` is kept."""
    return session_path(out, index, _SUFFIX)


def collect_desktop(
    sessions: int,
    steps: int,
    seed: int,
    out: str | Path,
    split: Split = "train",
    workers: int = 2,
    users: Mapping[str, float] = DEFAULT_MIX,
    progress: bool = True,
) -> int:
    """Records sessions of synthetic users on the real desktop.

    Args:
        sessions: how many sessions the folder shall hold; those already there are not recorded again.
        steps: events per session.
        seed: same seed, split and users give the same sessions.
        out: folder of the sessions, in subfolders of 1000.
        split: "train" or "eval": which words and sums the users may type.
        workers: parallel processes.
        users: share of each kind of user.
        progress: show a progress bar.

    Returns:
        How many sessions were recorded now.

    Raises:
        RecordingError: the disk is full or a worker was killed; what was recorded stays.
    """
    recording = Recording(Path(out), _SUFFIX, steps, seed, split, dict(users))
    recording.check(sessions, workers, USERS)
    recording.check_same(_read)
    record = partial(_record, packages=package_versions())
    loss = "its desktop or a program of it died or hung"
    return collect(recording, sessions, workers, _ROWS_PER_WORKER, record, loss, progress)


def _read(first: Path) -> tuple[dict[str, Any], int]:
    """Returns info and steps of a session."""
    trace = read_trace(first)
    return trace.info, len(trace.events)


def package_versions() -> dict[str, str]:
    """Returns the versions of the Debian packages that make the screens; empty on a system without dpkg."""
    names = sorted({*desktop_box.PACKAGES.values(), "bash", "coreutils"})
    try:
        found = subprocess.run(
            ["dpkg-query", "--show", "--showformat", "${Package} ${Version}\n", *names],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        return {}
    return dict(line.split() for line in found.stdout.splitlines())


class _Session:
    """One session as it is recorded: asks its user for events and keeps what they did."""

    def __init__(
        self, recording: Recording, index: int, packages: Mapping[str, str], machine: XDesktop, row: int
    ) -> None:
        seed, split = recording.seed, recording.split
        name = session_user(seed, index, split, recording.users)
        info = {
            "machine": "desktop", "seed": seed, "session": index, "split": split, "user": name,
            "users": recording.users, "display": _DISPLAY, "packages": dict(packages),
        }  # fmt: skip
        self.path = recording.path(index)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.broken = False
        self._user = make_user(name, seed, index, split)
        self._queue: deque[Act] = deque()
        self._machine, self._row = machine, row
        self._screen = machine.bare_screens()[row]
        self._shapes: list[int] = []
        self._trace = DesktopTrace(info, [self._pointer()])
        self._video = ScreenWriter(self.path.with_suffix(".mkv"))

    def start(self) -> None:
        """Notes the first screen."""
        self._video.write(self._screen)

    def next_act(self) -> Act:
        """Returns the user's next event."""
        while not self._queue:
            last = len(self._trace.events) - 1
            windows = self._trace.windows.get(last)  # there if that event changed the screen
            if windows is None:
                windows = self._machine.windows(self._row)
                if self._trace.events:
                    self._trace.windows[last] = windows
            self._queue.extend(self._user.plan(windows))
        return self._queue.popleft()

    def _pointer(self) -> tuple[int, int, int]:
        """Returns the pointer as this session counts its images."""
        x, y, shape = self._machine.pointers()[self._row].tolist()
        if shape not in self._shapes:
            self._shapes.append(shape)
        return x, y, self._shapes.index(shape)

    def note(self, act: Act, screen: np.ndarray) -> None:
        """Notes an event and the screen (240, 320, 3) that it led to."""
        if not np.array_equal(screen, self._screen):
            self._trace.windows[len(self._trace.events)] = self._machine.windows(self._row)
        self._screen = screen
        self._trace.events.append(act.event)
        self._trace.purposes.append(act.purpose)
        self._trace.pointers.append(self._pointer())
        self._video.write(screen)

    def finish(self) -> bool:
        """Writes the session's files, if nothing broke; tells whether it did."""
        if self.broken:
            self._video.discard()
            return False
        self._trace.sprites = [self._machine.sprites[shape] for shape in self._shapes]
        self._video.close()
        write_trace(self.path, self._trace, self._video.checksum)
        return True

    def discard(self) -> None:
        """Removes what was written of the screens."""
        self._video.discard()


def _record(batch: Batch, packages: Mapping[str, str]) -> tuple[int, list[int]]:
    """Records one batch; returns how many sessions were written and which were left out."""
    count = len(batch.indices)
    everyone, zeros = np.ones(count, np.bool_), np.zeros(count, np.int64)
    sessions: list[_Session] = []
    with XDesktop(num_rows=count) as machine:
        machine.reset(everyone, zeros, zeros)
        try:
            for row, index in enumerate(batch.indices):
                sessions.append(_Session(batch.recording, index, packages, machine, row))
                sessions[-1].start()
            for _ in range(batch.recording.steps):
                acts = [session.next_act() for session in sessions]
                machine.step(np.array([act.event for act in acts], np.int64), everyone)
                screens = machine.bare_screens()
                for row, (session, act) in enumerate(zip(sessions, acts, strict=True)):
                    session.broken |= bool(machine.restarted()[row])
                    session.note(act, screens[row])
            kept = [session.finish() for session in sessions]
        except BaseException:
            for session in sessions:
                session.discard()
            raise
    return sum(kept), [index for index, done in zip(batch.indices, kept, strict=True) if not done]
