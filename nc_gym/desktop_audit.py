"""How far the desktop's predicates can be trusted: what they see in the pixels against what the window manager knows.

Seeded users (held-out ones) act on real desktops. After every event each predicate is asked of the screen and of the
true window list; texts, which have no other truth, are read with and without the pointer drawn. The command
``nc-gym tasks desktop`` writes the counts to ``docs/predicates_desktop.json``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from nc_gym.desktop_predicates import SeenWindows, TrueWindows
from nc_gym.desktop_reader import DesktopReader
from nc_gym.desktop_view import TITLES, DesktopView
from nc_gym.fidelity_report import dumps
from nc_gym.inputs import Place
from nc_gym.machines.desktop import XDesktop
from nc_gym.machines.font import CELL_HEIGHT
from nc_gym.registration import load_card
from nc_gym.traces.desktop_mix import DEFAULT_MIX, make_user

JSON = "predicates_desktop.json"
ROWS = 4  # desktops side by side
MOST_TASKS = 3  # windows that the task list names
_REGIONS = {"Calc": (16, 8, 160, 16), "Term": (0, 0, 192, 128)}  # whose texts are compared
SESSIONS, EVENTS, SEED = 8, 150, 31_000  # per kind of user
Counts = dict[str, Counter[str]]


def write(out: Path) -> Path:
    """Measures, unless the file is there already and of the same users and events, and returns it."""
    path = out / JSON
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if not _header(SESSIONS, EVENTS, SEED).items() <= known.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        text = dumps(confusion(SESSIONS, EVENTS, SEED))
        path.write_text(text, encoding="utf-8")
    return path


def confusion(sessions: int, events: int, seed: int) -> dict[str, Any]:
    """Counts, per kind of predicate, how often screen and truth agree.

    Args:
        sessions: of each kind of user.
        events: per session.
        seed: of the users.

    Returns:
        The content of the file: per kind the numbers of cases in which it holds or not, and was seen or not.
    """
    counts: Counts = {}
    jobs = [(name, index) for name in DEFAULT_MIX for index in range(sessions)]
    batches = [jobs[start : start + ROWS] for start in range(0, len(jobs), ROWS)]
    for batch in track(batches, description="Predicates", transient=True):
        _play(batch, events, seed, counts)
    kinds = {kind: {name: counts[kind][name] for name in sorted(counts[kind])} for kind in sorted(counts)}
    return {**_header(sessions, events, seed), "kinds": kinds}


def _header(sessions: int, events: int, seed: int) -> dict[str, Any]:
    users = list(DEFAULT_MIX)
    return {"sessions": sessions * len(users), "users": users, "events": events, "seed": seed}


def _play(batch: list[tuple[str, int]], events: int, seed: int, counts: Counts) -> None:
    everyone, zeros = np.ones(len(batch), np.bool_), np.zeros(len(batch), np.int64)
    users = [make_user(name, seed, index, "eval") for name, index in batch]
    queues: list[Iterator[Any]] = [iter(()) for _ in batch]
    with XDesktop(len(batch)) as machine:
        machine.reset(everyone, zeros, zeros)
        shown, bare = (DesktopReader(len(batch), machine.screen_shape) for _ in range(2))
        for _ in range(events):
            acts = []
            for row, user in enumerate(users):
                act = next(queues[row], None)
                while act is None:
                    queues[row] = iter(user.plan(machine.windows(row)))
                    act = next(queues[row], None)
                acts.append(act.event)
            machine.step(np.array(acts, np.int64), everyone)
            shown.read(machine.screens())
            bare.read(machine.bare_screens())
            for row in range(len(batch)):
                _compare(TrueWindows(machine.windows(row)), shown.view(row), bare.view(row), counts)


def _compare(truth: TrueWindows, view: DesktopView, bare: DesktopView, counts: Counts) -> None:
    """Asks every predicate of one screen."""
    seen, places = SeenWindows(view), load_card("desktop").places
    listed = "" if len(truth.windows) <= MOST_TASKS else f", more than {MOST_TASKS} windows"
    for title in TITLES:
        readable = view.tasks is not None
        _count(counts, f"open{listed}", truth.opened(title), readable and seen.opened(title))
        _count(counts, f"closed{listed}", not truth.opened(title), readable and not seen.opened(title))
        _count(counts, "active", truth.active(title), seen.active(title))
        for place in (*(places[name] for name in places if name.startswith("the ")), *_title_places(truth, title)):
            _count(counts, "at a place", truth.near(title, place), seen.near(title, place))
    for title, (x, y, width, height) in _REGIONS.items():
        bars = [v.bar(title) for v in (bare, view)]
        texts = [
            v.text(bar.x + x, bar.y + CELL_HEIGHT + y, width, height) if bar is not None else None
            for v, bar in zip((bare, view), bars, strict=True)
        ]
        if texts[0] is not None:
            kind = f"text in {title} under the pointer"
            counts.setdefault(kind, Counter())[_text_outcome(texts[0], texts[1])] += 1


def _title_places(truth: TrueWindows, title: str) -> list[Place]:
    return [(w.x, w.y - CELL_HEIGHT // 2) for w in truth.windows if w.title == title and not w.minimized]


def _text_outcome(true: list[str], read: list[str] | None) -> str:
    """Tells whether a text was read right, not at all, or as another one, which would be a lie."""
    if read == true:
        return "same"
    return "unreadable" if read is None or any("\x7f" in row for row in read) else "other"


def _count(counts: Counts, kind: str, holds: bool, seen: bool) -> None:
    name = f"{'holds' if holds else 'does not hold'}, {'seen' if seen else 'not seen'}"
    counts.setdefault(kind, Counter())[name] += 1
