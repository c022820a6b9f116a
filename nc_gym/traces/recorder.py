"""Records synthetic users on the real terminal, one asciinema cast per session: see ``collecting.py`` for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nc_gym.machines.keys import NOOP
from nc_gym.machines.terminal import COLUMNS, ROWS, BashTerminal
from nc_gym.traces.cast import Cast, read_cast, write_cast
from nc_gym.traces.collecting import Batch, Recording, collect, session_path
from nc_gym.traces.users import DEFAULT_MIX, USERS, session_events, session_user
from nc_gym.traces.words import Split

_SUFFIX = ".cast"
_ROWS_PER_WORKER = 8
_SANDBOX = "bubblewrap: no network, private home, limits"


def cast_path(out: Path, index: int) -> Path:
    """Returns where session ``index`` of the recording in ``out`` is kept."""
    return session_path(out, index, _SUFFIX)


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
    recording = Recording(Path(out), _SUFFIX, steps, seed, split, dict(users))
    recording.check(sessions, workers, USERS)
    recording.check_same(lambda first: _read(first, steps))
    return collect(recording, sessions, workers, _ROWS_PER_WORKER, _record, "its shell died or hung", progress)


def _read(first: Path, steps: int) -> tuple[dict[str, Any], int]:
    """Returns info and steps of a cast; a short one may come from a recording with any number of ``steps``."""
    cast = read_cast(first)
    return cast.info, steps if cast.info["user"] == "short" else len(cast.events)


def _record(batch: Batch) -> tuple[int, list[int]]:
    """Records one batch; returns how many casts were written and which sessions were left out."""
    recording, indices = batch.recording, np.array(batch.indices)
    seed, split = recording.seed, recording.split
    users = [session_user(seed, index, split, recording.users) for index in batch.indices]
    pairs = [
        session_events(user, seed, index, split, recording.steps)
        for user, index in zip(users, batch.indices, strict=True)
    ]
    outputs, broken = drive([[event for event, _ in session] for session in pairs])
    for row in np.flatnonzero(~broken):
        info = {
            "machine": "terminal", "seed": seed, "session": batch.indices[row], "split": split,
            "user": users[row], "users": recording.users, "geometry": [ROWS, COLUMNS], "sandbox": _SANDBOX,
        }  # fmt: skip
        events, families = ([pair[k] for pair in pairs[row]] for k in (0, 1))
        text = [data.decode("utf-8", "replace") for data in outputs[row]]
        path = recording.path(batch.indices[row])
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
