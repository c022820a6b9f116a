"""Which event is what: kinds of keys, command families, and how long ago the file that a ``cat`` shows was written.

Command lines are read off the real screen, as they stand when Enter is hit; all answers are masks, bool (N, T).
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from nc_gym.fidelity_run import Readings, Sessions
from nc_gym.machines.keys import KEY_INDEX, KEYS, NOOP
from nc_gym.traces.home import FAMILIES, FAMILY_INDEX, Home

Masks = dict[str, NDArray[np.bool_]]

ENTER = KEY_INDEX["Enter"]
_PRINTABLE = {index for name, index in KEY_INDEX.items() if len(name) == 1}
_PROMPT = re.compile(r"(?:~|\w+)\$ ")
_REDIRECT = re.compile(r">>?\s*(\S+)\s*$")
DISTANCES = {"1": (1, 1), "2": (2, 2), "3-4": (3, 4), "5-8": (5, 8), "9+": (9, 10**9)}


def kinds(sessions: Sessions) -> Masks:
    """Returns all Enter events, all no-ops, and all other keys, which the name "key" stands for."""
    enter, noop = sessions.events == ENTER, sessions.events == NOOP
    return {"key": ~enter & ~noop, "enter": enter, "noop": noop}


def families(sessions: Sessions) -> Masks:
    """Returns the Enter events of each command family."""
    return {name: sessions.families == index for index, name in enumerate(FAMILIES) if index}


def named_keys(sessions: Sessions) -> Masks:
    """Returns the events of each key that has a name, and all printable characters together."""
    masks = {"printable": np.isin(sessions.events, sorted(_PRINTABLE))}
    named = [index for index in range(len(KEYS)) if index not in _PRINTABLE and index not in (ENTER, NOOP)]
    return masks | {KEYS[index]: sessions.events == index for index in named}


def command_line(chars: NDArray[np.uint8], row: int) -> str:
    """Returns the command line on a screen (rows, columns) whose cursor is in ``row``; it may run over several rows.

    The prompt is the nearest one at or above the cursor; without one the answer is empty.
    """
    lines = [line.tobytes().decode("latin-1") for line in chars]
    for top in range(row, -1, -1):
        prompt = _PROMPT.match(lines[top])
        if prompt:
            return "".join(lines[top:])[prompt.end() :].rstrip()
    return ""


def recall(sessions: Sessions, real: Readings) -> Masks:
    """Returns the events that ``cat`` one file, by how many commands earlier ``>`` or ``>>`` last wrote it (DISTANCES).

    A file whose content came by ``cp`` or ``mv`` is not counted, nor is one in another folder.
    """
    masks = {name: np.zeros(sessions.events.shape, np.bool_) for name in DISTANCES}
    for n in range(len(sessions.events)):
        books = _Books()
        for t in np.flatnonzero(sessions.events[n] == ENTER):
            line = command_line(real.chars[n, t], int(real.cursors[n, t, 0]))  # screen t is the one before event t + 1
            distance = books.run(line, FAMILIES[sessions.families[n, t]])
            for name, (least, most) in DISTANCES.items():
                if distance is not None and least <= distance <= most:
                    masks[name][n, t] = True
    return masks


class _Books:
    """Follows one session's commands and remembers which command wrote which file."""

    def __init__(self) -> None:
        self.home = Home()
        self.count = 0
        self.written: dict[PurePosixPath, int] = {}

    def run(self, line: str, family: str) -> int | None:
        """Follows one entered line; if it is a cat, returns how many commands ago the file it shows was written."""
        words = line.split()
        if not words or family == "typist":
            return None
        self.count += 1
        here = PurePosixPath("/", *self.home.path)
        self.home.run(line)
        redirect = _REDIRECT.search(line)
        if family in ("redirect", "append") and redirect:
            self.written[here / redirect[1]] = self.count
        elif family == "cat" and len(words) == 2 and here / words[1] in self.written:
            return self.count - self.written[here / words[1]]
        elif words[0] == "rm":
            self._forget([here / word for word in words[1:]])
        elif family in ("mv", "cp") and len(words) == 3:
            source, target = here / words[1], here / words[2]
            self._forget([target, target / source.name] + ([source] if family == "mv" else []))
        return None

    def _forget(self, gone: list[PurePosixPath]) -> None:
        """Drops files at, or in folders at, the paths ``gone``."""
        self.written = {path: k for path, k in self.written.items() if not {path, *path.parents} & set(gone)}


def event_name(sessions: Sessions, n: int, step: int) -> str:
    """Names what session ``n`` did at ``step``, counted from 1: a key, or the family of the command that ran."""
    if step == 0:
        return "boot"
    family = sessions.families[n, step - 1]
    return FAMILIES[family] if family else f"key {KEYS[sessions.events[n, step - 1]]}"


def arithmetic(sessions: Sessions) -> NDArray[np.bool_]:
    """Returns the Enter events of sums and differences that the network has to work out itself."""
    return sessions.families == FAMILY_INDEX["arithmetic"]
