"""Seeded synthetic users: streams of (event, family) pairs that operate a terminal the way people do.

A goal-directed user (``goal_user.py``) types what makes sense; which commands and habits it has makes many kinds of it.
A typist (``typist.py``) hits random keys, another user puts pieces together wrongly (``pieces.py``).
All keep their own books and need no feedback from the screen.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from random import Random

from nc_gym.machines.keys import NOOP
from nc_gym.traces.command_weights import (
    ARCHIVE_WEIGHTS,
    DRILL_WEIGHTS,
    FOLDER_WEIGHTS,
    GOAL_WEIGHTS,
    JOURNAL_WEIGHTS,
    LEDGER_WEIGHTS,
    LISTER_WEIGHTS,
    MENDER_WEIGHTS,
    RECALL_WEIGHTS,
    SHELF_WEIGHTS,
)
from nc_gym.traces.goal_user import GOAL_HABITS, GoalUser, Habits
from nc_gym.traces.mix import check_user, draw_user
from nc_gym.traces.pieces import PieceUser
from nc_gym.traces.presses import Events
from nc_gym.traces.typist import Typist
from nc_gym.traces.words import Split, weighted

USERS: tuple[str, ...] = (
    "goal", "recall", "typist", "short", "drill", "pieces", "archive", "ledger", "rambler", "mender", "journal",
    "folders", "shelf", "lister",
)  # fmt: skip
DEFAULT_MIX: Mapping[str, float] = {"goal": 0.7, "recall": 0.2, "typist": 0.1}
SHORT_STEPS = (40, 64)
_IDLE_SHARE = 0.03
_FAR_UP = (35, 25, 15, 10, 8, 7)

DRILL_HABITS = Habits(
    slip=0.0, recall=0.18, blank=0.01, cancel=0.01, kill=0.05, complete=0.08, amend=0.18, tab=0.12, ups=_FAR_UP,
    near_end=0.5, alike=0.1,
)  # fmt: skip
ARCHIVE_HABITS = Habits(slip=0.035, recall=0.2, kill=0.07, amend=0.05, ups=_FAR_UP)
LEDGER_HABITS = Habits(
    slip=0.0, recall=0.12, blank=0.005, cancel=0.005, kill=0.0, complete=0.04, amend=0.0, longest_word=4, ups=_FAR_UP,
    alike=0.3,
)  # fmt: skip
MENDER_HABITS = Habits(slip=0.0, recall=0.05, blank=0.0, cancel=0.0, kill=0.03, complete=0.0, amend=0.75, near_end=0.8)
JOURNAL_HABITS = Habits(
    slip=0.0, recall=0.25, blank=0.0, cancel=0.0, kill=0.0, complete=0.02, amend=0.0, longest_word=5, ups=_FAR_UP
)
FOLDER_HABITS = Habits(
    slip=0.0, recall=0.06, blank=0.0, cancel=0.0, kill=0.0, complete=0.05, amend=0.0, longest_word=4, ups=_FAR_UP,
    alike=0.15,
)  # fmt: skip
SHELF_HABITS = Habits(
    slip=0.0, recall=0.12, blank=0.0, cancel=0.0, kill=0.0, complete=0.03, amend=0.0, longest_word=4, ups=_FAR_UP,
    alike=0.3,
)  # fmt: skip
LISTER_HABITS = Habits(
    slip=0.03, recall=0.1, cancel=0.03, kill=0.03, complete=0.01, amend=0.12, longest_word=5, ups=_FAR_UP, near_end=0.6,
    alike=0.3,
)  # fmt: skip
_GOALS: Mapping[str, tuple[Mapping[str, float], Habits]] = {
    "goal": (GOAL_WEIGHTS, GOAL_HABITS),
    "recall": (RECALL_WEIGHTS, GOAL_HABITS),
    "short": (RECALL_WEIGHTS, GOAL_HABITS),
    "drill": (DRILL_WEIGHTS, DRILL_HABITS),
    "archive": (ARCHIVE_WEIGHTS, ARCHIVE_HABITS),
    "ledger": (LEDGER_WEIGHTS, LEDGER_HABITS),
    "mender": (MENDER_WEIGHTS, MENDER_HABITS),
    "journal": (JOURNAL_WEIGHTS, JOURNAL_HABITS),
    "folders": (FOLDER_WEIGHTS, FOLDER_HABITS),
    "shelf": (SHELF_WEIGHTS, SHELF_HABITS),
    "lister": (LISTER_WEIGHTS, LISTER_HABITS),
}


def session_user(seed: int, index: int, split: Split, users: Mapping[str, float]) -> str:
    """Returns which of ``users`` (name to share) plays session ``index`` of the recording ``seed``."""
    return draw_user("user", seed, index, split, users)


def session_events(user: str, seed: int, index: int, split: Split, steps: int) -> list[tuple[int, int]]:
    """Returns the events of one session.

    Args:
        user: one of ``USERS``; a "drill" user types without slips, mostly what memory and arithmetic need, an "archive"
            user overwrites, appends to, copies and renames files and reads any of them again, early or late; a "ledger"
            user does the same with empty files and short words and looks after nearly every change, and asks for files
            that are gone; a "rambler" joins pieces to lines of up to four rows; a "mender" makes a mistake in the
            middle of most lines, some of them as wide as the screen, and repairs it, mostly near its end; a "journal"
            user adds line after line to its files, copies and renames them, and reads them after nearly every change; a
            "folders" user makes two or three folders, fills, lists and moves them, and removes some; a "shelf" user
            keeps several files of different text and reads any of them, copies and their sources, too; a "lister" lists
            folders of many files, some of whose names it mistyped first.
        seed: seed of the recording.
        index: number of the session in it.
        split: which words may be typed.
        steps: number of events; a "short" user stops after 40 to 64 of them.

    Returns:
        (event, family) pairs; the family index is 0 except for Enter.
    """
    check_user(user, USERS)
    rng = Random(f"events/{user}/{seed}/{split}/{index}")
    if user == "short":
        steps = min(steps, rng.randint(*SHORT_STEPS))
    if user == "typist":
        stream = Typist(rng, split).events()
    elif user == "pieces":
        stream = PieceUser(rng, split).events()
    elif user == "rambler":
        stream = PieceUser(rng, split, pieces=(6, 24), longest=150).events()
    else:
        weights, habits = _GOALS[user]
        stream = GoalUser(rng, split, weights, habits).events()
    return list(islice(_with_idle(stream, rng), steps))


def _with_idle(stream: Events, rng: Random) -> Events:
    """Inserts no-op events, singly and now and then in short runs."""
    for pair in stream:
        if rng.random() < _IDLE_SHARE * 0.75:
            for _ in range(weighted(rng, (1, 2, 4), (85, 12, 3))):
                yield NOOP, 0
        yield pair
