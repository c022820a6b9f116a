"""Records synthetic users on the real terminal: one asciinema cast per session, in parallel and resumable.

Each file appears complete or not at all, so a killed recording goes on where it stopped when the same command runs
again.
"""

from __future__ import annotations

import errno
import warnings
from collections.abc import Mapping
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from nc_gym.machines.keys import NOOP
from nc_gym.machines.terminal import COLUMNS, ROWS, BashTerminal
from nc_gym.traces import parallel
from nc_gym.traces.cast import Cast, read_cast, write_cast
from nc_gym.traces.users import DEFAULT_MIX, USERS, session_events, session_user
from nc_gym.traces.words import SPLITS, Split

_FOLDER_SIZE = 1000
_ROWS_PER_WORKER = 8
_SANDBOX = "bubblewrap: no network, private home, limits"


class RecordingError(RuntimeError):
    """A recording that had to stop; everything recorded before is kept."""


@dataclass(frozen=True)
class _Batch:
    """Sessions that one worker records side by side."""

    out: Path
    indices: tuple[int, ...]
    steps: int
    seed: int
    split: Split
    users: Mapping[str, float]


def cast_path(out: Path, index: int) -> Path:
    """Returns where session ``index`` of the recording in ``out`` is kept."""
    return out / f"{index // _FOLDER_SIZE:03d}" / f"{index:06d}.cast"


def collect_terminal(
    sessions: int,
    steps: int,
    seed: int,
    out: str | Path,
    split: Split = "train",
    workers: int = 2,
    users: Mapping[str, float] = DEFAULT_MIX,
    progress: bool = True,
) -> int:
    """Records sessions of synthetic users on real bash.

    Args:
        sessions: how many sessions the folder shall hold; those already there are not recorded again.
        steps: events per session.
        seed: same seed, split and users give the same files.
        out: folder of the casts, in subfolders of 1000.
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
    missing = [index for index in range(sessions) if not cast_path(out, index).exists()]
    size = max(1, min(_ROWS_PER_WORKER, len(missing) // max(1, workers)))
    batches = [
        _Batch(out, tuple(missing[i : i + size]), steps, seed, split, dict(users)) for i in range(0, len(missing), size)
    ]
    with progress_bar(disable=not progress) as bar:
        task = bar.add_task(f"recording {split}", total=sessions, completed=sessions - len(missing))
        try:
            for written, dropped in parallel.run(_record, batches, workers):
                bar.advance(task, written)
                for index in dropped:
                    warnings.warn(f"session {index} was left out: its shell died or hung", stacklevel=2)
        except (OSError, BrokenProcessPool) as error:
            raise stopped(error, out, _recorded(out, missing)) from error
    return _recorded(out, missing)


def _check(sessions: int, steps: int, split: str, workers: int, users: Mapping[str, float]) -> None:
    for name, value in (("sessions", sessions), ("steps", steps), ("workers", workers)):
        if value < 1:
            raise ValueError(f"{name} is {value}; expected at least 1")
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; expected one of {', '.join(SPLITS)}")
    unknown = [name for name in users if name not in USERS]
    if unknown or not users:
        raise ValueError(f"users are {sorted(users)}; expected some of {', '.join(USERS)} with their shares")


def _check_same_recording(out: Path, steps: int, seed: int, split: Split) -> None:
    """Refuses to mix two recordings in one folder."""
    first = min(out.glob("*/*.cast"), default=None)
    if first is None:
        return
    recording = read_cast(first)
    info = recording.info
    found = (info["seed"], info["split"], steps if info["user"] == "short" else len(recording.events))
    if found != (seed, split, steps):
        raise ValueError(
            f"{out} holds a recording with seed, split and steps {found}, not {(seed, split, steps)}: "
            "choose another folder, or ask for the same values to resume it"
        )


def progress_bar(disable: bool) -> Progress:
    """Returns the progress bar of a recording."""
    label, times = TextColumn("{task.description}"), (TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(label, BarColumn(), MofNCompleteColumn(), *times, disable=disable, refresh_per_second=2)


def _recorded(out: Path, indices: list[int]) -> int:
    return sum(cast_path(out, index).exists() for index in indices)


def stopped(error: OSError | BrokenProcessPool, out: Path, recorded: int) -> Exception:
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


def _record(batch: _Batch) -> tuple[int, list[int]]:
    """Records one batch; returns how many casts were written and which sessions were left out."""
    indices = np.array(batch.indices)
    users = [session_user(batch.seed, index, batch.split, batch.users) for index in batch.indices]
    pairs = [
        session_events(user, batch.seed, index, batch.split, batch.steps)
        for user, index in zip(users, batch.indices, strict=True)
    ]
    outputs, broken = drive([[event for event, _ in session] for session in pairs])
    for row in np.flatnonzero(~broken):
        info = {
            "machine": "terminal", "seed": batch.seed, "session": batch.indices[row], "split": batch.split,
            "user": users[row], "geometry": [ROWS, COLUMNS], "sandbox": _SANDBOX,
        }  # fmt: skip
        events, families = ([pair[k] for pair in pairs[row]] for k in (0, 1))
        text = [data.decode("utf-8", "replace") for data in outputs[row]]
        path = cast_path(batch.out, batch.indices[row])
        path.parent.mkdir(parents=True, exist_ok=True)
        write_cast(path, Cast(COLUMNS, ROWS, info, events, families, text))
    return int((~broken).sum()), indices[broken].tolist()


def drive(sessions: list[list[int]]) -> tuple[list[list[bytes]], np.ndarray]:
    """Types each session's events into a fresh terminal of its own.

    Args:
        sessions: events of each session.

    Returns:
        Output of each session, first after the boot and then after each event; and bool (N,), true where the shell
        died or hung on the way.
    """
    count = len(sessions)
    broken = np.zeros(count, np.bool_)
    lengths = np.array([len(session) for session in sessions])
    with BashTerminal(num_rows=count) as terminal:
        zeros = np.zeros(count, np.int64)
        terminal.reset(np.ones(count, np.bool_), zeros, zeros)
        outputs = [[data] for data in terminal.output()]
        for step in range(int(lengths.max())):
            active = step < lengths
            events = np.array([session[step] if step < len(session) else NOOP for session in sessions])
            terminal.step(events, active)
            broken |= terminal.restarted()
            for row in np.flatnonzero(active):
                outputs[row].append(terminal.output()[row])
    return outputs, broken
