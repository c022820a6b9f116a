"""Collects sessions of any real computer, in parallel and resumable; the recorders say how one batch is recorded.

A session is one file that appears complete or not at all, so a killed recording goes on where it stopped when the same
command runs again.
"""

from __future__ import annotations

import errno
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from nc_gym.traces import parallel
from nc_gym.traces.words import SPLITS, Split

_FOLDER_SIZE = 1000


class RecordingError(RuntimeError):
    """A recording that had to stop; everything recorded before is kept."""


@dataclass(frozen=True)
class Recording:
    """What is recorded, and where to.

    Attributes:
        out: folder of the sessions, in subfolders of 1000.
        suffix: of a session's file.
        steps: events per session.
        seed: of the users.
        split: which words and sums the users may type.
        users: share of each kind of user.
    """

    out: Path
    suffix: str
    steps: int
    seed: int
    split: Split
    users: Mapping[str, float]

    def path(self, index: int) -> Path:
        """Returns where session ``index`` is kept."""
        return session_path(self.out, index, self.suffix)

    def check(self, sessions: int, workers: int, known: tuple[str, ...]) -> None:
        """Refuses numbers, splits and users (``known`` are there) that make no recording.

        Raises:
            ValueError: the message names the argument and what is expected.
        """
        for name, value in (("sessions", sessions), ("steps", self.steps), ("workers", workers)):
            if value < 1:
                raise ValueError(f"{name} is {value}; expected at least 1")
        if self.split not in SPLITS:
            raise ValueError(f"split is {self.split!r}; expected one of {', '.join(SPLITS)}")
        if not self.users or any(name not in known for name in self.users):
            raise ValueError(f"users are {sorted(self.users)}; expected some of {', '.join(known)} with their shares")

    def check_same(self, read: Callable[[Path], tuple[dict[str, Any], int]]) -> None:
        """Refuses to mix two recordings in one folder; ``read`` returns a session's info and its number of steps.

        Raises:
            ValueError: the folder holds another recording.
        """
        first = min(self.out.glob(f"*/*{self.suffix}"), default=None)
        if first is None:
            return
        info, steps = read(first)
        there = info["seed"], info["split"], steps, info.get("users", self.users)  # older ones do not say
        asked = self.seed, self.split, self.steps, self.users
        if there != asked:
            raise ValueError(
                f"{self.out} holds a recording with seed, split, steps and users {there}, not {asked}: "
                "choose another folder, or ask for the same values to resume it"
            )


@dataclass(frozen=True)
class Batch:
    """Sessions of a recording that one worker records side by side."""

    recording: Recording
    indices: tuple[int, ...]


def session_path(out: Path, index: int, suffix: str) -> Path:
    """Returns where session ``index`` of the recording in ``out`` is kept."""
    return out / f"{index // _FOLDER_SIZE:03d}" / f"{index:06d}{suffix}"


def collect(
    recording: Recording,
    sessions: int,
    workers: int,
    rows: int,
    record: Callable[[Batch], tuple[int, list[int]]],
    loss: str,
    progress: bool,
) -> int:
    """Records whatever of a recording is missing.

    Args:
        recording: what is recorded.
        sessions: how many sessions its folder shall hold.
        workers: parallel processes.
        rows: sessions that one worker records side by side at most.
        record: records a batch; returns how many sessions were written and which were left out.
        loss: why a session is left out, for the warning.
        progress: show a progress bar.

    Returns:
        How many sessions were recorded now.

    Raises:
        RecordingError: the disk is full or a worker was killed; what was recorded stays.
    """
    missing = [index for index in range(sessions) if not recording.path(index).exists()]
    size = max(1, min(rows, len(missing) // workers))
    batches = [Batch(recording, tuple(missing[i : i + size])) for i in range(0, len(missing), size)]
    with _progress_bar(disable=not progress) as bar:
        task = bar.add_task(f"recording {recording.split}", total=sessions, completed=sessions - len(missing))
        try:
            for written, dropped in parallel.run(record, batches, workers):
                bar.advance(task, written)
                for index in dropped:
                    warnings.warn(f"session {index} was left out: {loss}", stacklevel=3)
        except (OSError, BrokenProcessPool) as error:
            raise _stopped(error, recording.out, _recorded(recording, missing)) from error
    return _recorded(recording, missing)


def _progress_bar(disable: bool) -> Progress:
    label, times = TextColumn("{task.description}"), (TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(label, BarColumn(), MofNCompleteColumn(), *times, disable=disable, refresh_per_second=2)


def _recorded(recording: Recording, indices: list[int]) -> int:
    return sum(recording.path(index).exists() for index in indices)


def _stopped(error: OSError | BrokenProcessPool, out: Path, recorded: int) -> Exception:
    """Returns the error to raise when a recording stopped early."""
    if isinstance(error, BrokenProcessPool):
        reason, remedy = "a worker process was killed, perhaps for lack of memory,", "use fewer workers"
    elif error.errno in (errno.ENOSPC, errno.EDQUOT):
        reason, remedy = f"no space left on the disk of {out}", "free some space"
    else:
        return error
    return RecordingError(
        f"{reason} after {recorded} new sessions; all of them are kept: "
        f"{remedy} and run the same command again to go on"
    )
