"""Records synthetic users on the real desktop, in parallel and resumable: see ``desktop_trace.py`` for the files.

A session counts as recorded when its .jsonl file is there, which is written last.
"""

from __future__ import annotations

import subprocess
import warnings
from collections import deque
from collections.abc import Mapping
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nc_gym.machines import desktop_box
from nc_gym.machines.desktop import XDesktop
from nc_gym.machines.desktop_events import HEIGHT, WIDTH
from nc_gym.traces import parallel
from nc_gym.traces.desktop_trace import DesktopTrace, ScreenWriter, read_trace, write_trace
from nc_gym.traces.desktop_users import DEFAULT_MIX, USERS, Act, make_user, session_user
from nc_gym.traces.recorder import progress_bar, stopped
from nc_gym.traces.words import SPLITS, Split

_FOLDER_SIZE = 1000
_ROWS_PER_WORKER = 4
_MUCH = 0.02  # share of changed pixels from which on an event's line has the window list
_DISPLAY = f"Xvfb {WIDTH}x{HEIGHT}x24 in bubblewrap: no network, private home, limits"


@dataclass(frozen=True)
class _Batch:
    """Sessions that one worker records side by side."""

    out: Path
    indices: tuple[int, ...]
    steps: int
    seed: int
    split: Split
    users: Mapping[str, float]
    packages: Mapping[str, str]


def trace_path(out: Path, index: int) -> Path:
    """Returns where session ``index`` of the recording in ``out`` is kept."""
    return out / f"{index // _FOLDER_SIZE:03d}" / f"{index:06d}.jsonl"


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
    _check(sessions, steps, split, workers, users)
    out = Path(out)
    _check_same_recording(out, steps, seed, split)
    missing = [index for index in range(sessions) if not trace_path(out, index).exists()]
    size = max(1, min(_ROWS_PER_WORKER, len(missing) // workers))
    packages = package_versions()
    batches = [
        _Batch(out, tuple(missing[i : i + size]), steps, seed, split, dict(users), packages)
        for i in range(0, len(missing), size)
    ]
    with progress_bar(disable=not progress) as bar:
        task = bar.add_task(f"recording {split}", total=sessions, completed=sessions - len(missing))
        try:
            for written, dropped in parallel.run(_record, batches, workers):
                bar.advance(task, written)
                for index in dropped:
                    warnings.warn(f"session {index} was left out: its desktop died or hung", stacklevel=2)
        except (OSError, BrokenProcessPool) as error:
            raise stopped(error, out, _recorded(out, missing)) from error
    return _recorded(out, missing)


def _check(sessions: int, steps: int, split: str, workers: int, users: Mapping[str, float]) -> None:
    for name, value in (("sessions", sessions), ("steps", steps), ("workers", workers)):
        if value < 1:
            raise ValueError(f"{name} is {value}; expected at least 1")
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; expected one of {', '.join(SPLITS)}")
    if not users or any(name not in USERS for name in users):
        raise ValueError(f"users are {sorted(users)}; expected some of {', '.join(USERS)} with their shares")


def _check_same_recording(out: Path, steps: int, seed: int, split: Split) -> None:
    """Refuses to mix two recordings in one folder."""
    first = min(out.glob("*/*.jsonl"), default=None)
    if first is None:
        return
    trace = read_trace(first)
    found = (trace.info["seed"], trace.info["split"], len(trace.events))
    if found != (seed, split, steps):
        raise ValueError(
            f"{out} holds a recording with seed, split and steps {found}, not {(seed, split, steps)}: "
            "choose another folder, or ask for the same values to resume it"
        )


def _recorded(out: Path, indices: list[int]) -> int:
    return sum(trace_path(out, index).exists() for index in indices)


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

    def __init__(self, batch: _Batch, index: int, machine: XDesktop, row: int) -> None:
        name = session_user(batch.seed, index, batch.split, batch.users)
        info = {
            "machine": "desktop", "seed": batch.seed, "session": index, "split": batch.split, "user": name,
            "display": _DISPLAY, "packages": dict(batch.packages),
        }  # fmt: skip
        self.path = trace_path(batch.out, index)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.broken = False
        self._user = make_user(name, batch.seed, index, batch.split)
        self._queue: deque[Act] = deque()
        self._machine, self._row = machine, row
        self._screen = machine.bare_screens()[row]
        self._shapes: list[int] = []
        self._trace = DesktopTrace(info, [self._pointer()])
        self._video = ScreenWriter(self.path.with_suffix(".mkv"))
        self._video.write(self._screen)

    def next_act(self) -> Act:
        """Returns the user's next event."""
        while not self._queue:
            self._queue.extend(self._user.plan(self._machine.windows(self._row)))
        return self._queue.popleft()

    def _pointer(self) -> tuple[int, int, int]:
        """Returns the pointer as this session counts its images."""
        x, y, shape = self._machine.pointers()[self._row].tolist()
        if shape not in self._shapes:
            self._shapes.append(shape)
        return x, y, self._shapes.index(shape)

    def note(self, act: Act, screen: np.ndarray) -> None:
        """Notes an event and the screen (240, 320, 3) that it led to."""
        if (screen != self._screen).any(2).mean() > _MUCH:
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


def _record(batch: _Batch) -> tuple[int, list[int]]:
    """Records one batch; returns how many sessions were written and which were left out."""
    count = len(batch.indices)
    everyone, zeros = np.ones(count, np.bool_), np.zeros(count, np.int64)
    sessions: list[_Session] = []
    with XDesktop(num_rows=count) as machine:
        machine.reset(everyone, zeros, zeros)
        try:
            sessions += [_Session(batch, index, machine, row) for row, index in enumerate(batch.indices)]
            for _ in range(batch.steps):
                acts = [session.next_act() for session in sessions]
                machine.step(np.array([act.event for act in acts], np.int64), everyone)
                screens = machine.bare_screens()
                for row, (session, act) in enumerate(zip(sessions, acts, strict=True)):
                    session.broken |= bool(machine.restarted()[row])
                    session.note(act, screens[row])
        except BaseException:
            for session in sessions:
                session.discard()
            raise
        kept = [session.finish() for session in sessions]
    return sum(kept), [index for index, done in zip(batch.indices, kept, strict=True) if not done]
