"""Tasks: what the user of a computer is asked to do, judged from what the screen shows and from nothing else.

A task is declared in a card (``envs/*.toml``). Its numbers are functions of the characters that ``nc_gym.reader`` read
from the pixels, so the same code judges a neural screen and a real one:

* **Success** has a *kind*, one function in ``SUCCESS``. It must hold on ``HOLD`` successive screens (the screen on
  which it first holds is the first of them), so that one flickering screen is no success.
* **Shaping** is best-so-far progress: typing a longer correct prefix of ``command`` after the prompt than ever before
  in the episode earns ``typing_share`` times the gain; typing it again, or erasing and retyping it, earns nothing.
* Success earns what is left up to 1. The rewards of an episode therefore sum to a number in [0, 1], and to 1 exactly
  when the task was solved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_gym.machines.keys import NOOP, encode

HOLD = 2  # successive screens that must show success
PROMPT_END = b"$ "
BANNER_COLUMNS = 40  # the longest instruction


@dataclass(frozen=True)
class Word:
    """A task parameter: a random word over ``letters`` whose length lies in ``length`` (both ends included)."""

    letters: str
    length: tuple[int, int]

    def sample(self, rng: np.random.Generator) -> str:
        """Draws a word."""
        size = rng.integers(self.length[0], self.length[1] + 1)
        return "".join(self.letters[i] for i in rng.integers(len(self.letters), size=size))


@dataclass(frozen=True)
class Goal:
    """One row's instance of a task: its boot and its texts with the drawn parameters filled in."""

    boot: int
    instruction: str
    line: str
    command: str


@dataclass
class Episode:
    """One row's goal and how far it has come.

    Attributes:
        typed: the largest share of the command ever typed after the prompt, in [0, 1].
        held: number of successive screens, up to the present one, that showed success.
        success: whether the task is solved.
    """

    goal: Goal
    typed: float = 0.0
    held: int = 0
    success: bool = False


def shows_line(goal: Goal, chars: NDArray[np.uint8], cursor_row: int) -> bool:
    """Tells whether a row above the prompt is exactly ``goal.line``.

    Args:
        goal: the goal.
        chars: character codes, uint8 (rows, columns).
        cursor_row: the row that is being typed on; it and the rows below it do not count.
    """
    row = np.full(chars.shape[1], ord(" "), np.uint8)
    row[: len(goal.line)] = np.frombuffer(goal.line.encode("ascii"), np.uint8)
    return bool((chars[:cursor_row] == row).all(1).any())


def never(goal: Goal, chars: NDArray[np.uint8], cursor_row: int) -> bool:
    """Free use: nothing to solve."""
    return False


SUCCESS: dict[str, Callable[[Goal, NDArray[np.uint8], int], bool]] = {"free": never, "line": shows_line}


@dataclass(frozen=True)
class Task:
    """A task from a card.

    Attributes:
        kind: which of ``SUCCESS`` judges it.
        boots: indices into the card's boots; an episode starts from one of them, drawn from its seed.
        instruction: the text in the banner; ``{name}`` stands for a parameter.
        line: what a line of the screen must be (kind "line").
        command: what the oracle types, followed by Enter; also what the shaping rewards.
        typing_share: the part of the return that typing ``command`` earns.
        parameters: what is drawn anew for every episode.
    """

    kind: str
    boots: tuple[int, ...]
    instruction: str = ""
    line: str = ""
    command: str = ""
    typing_share: float = 0.0
    parameters: Mapping[str, Word] = field(default_factory=dict)

    def sample(self, seed: int) -> Goal:
        """Draws an episode's goal; the same seed always gives the same goal."""
        rng = np.random.default_rng(seed)
        values = {name: parameter.sample(rng) for name, parameter in self.parameters.items()}
        boot = self.boots[rng.integers(len(self.boots))]
        texts = (text.format(**values) for text in (self.instruction, self.line, self.command))
        return Goal(boot, *texts)

    def judge(self, episode: Episode, chars: NDArray[np.uint8], cursor: NDArray[np.int64]) -> float:
        """Looks at the screen after a step, brings ``episode`` up to date and returns the step's reward.

        A screen without a cursor says nothing: it breaks a run of successful screens and earns nothing.

        Args:
            episode: the row's episode, changed in place. After success every reward is 0.
            chars: character codes, uint8 (rows, columns).
            cursor: row and column of the cursor, int64 (2,), or (-1, -1) if the screen shows none.
        """
        if episode.success or self.kind == "free":
            return 0.0
        cursor_row, cursor_column = int(cursor[0]), int(cursor[1])
        if cursor_row < 0:
            episode.held = 0
            return 0.0
        earned = self.typing_share * episode.typed
        typed = chars[cursor_row].tobytes()[:cursor_column]
        episode.typed = max(episode.typed, _share_typed(episode.goal.command, typed))
        holds = SUCCESS[self.kind](episode.goal, chars, cursor_row)
        episode.held = episode.held + 1 if holds else 0
        episode.success = episode.held >= HOLD
        return (1.0 if episode.success else self.typing_share * episode.typed) - earned

    def oracle(self, goal: Goal) -> list[int]:
        """Returns the events that solve ``goal`` from its boot; empty for free use."""
        if self.kind == "free":
            return []
        return [*encode(goal.command + "\n"), *[NOOP] * (HOLD - 1)]


def _share_typed(command: str, row: bytes) -> float:
    """Returns how much of ``command`` (0 to 1) stands correctly after the prompt of ``row`` (up to the cursor)."""
    start = row.find(PROMPT_END)
    if start < 0 or not command:
        return 0.0
    typed = row[start + len(PROMPT_END) :]
    target = command.encode("ascii")
    correct = 0
    while correct < min(len(typed), len(target)) and typed[correct] == target[correct]:
        correct += 1
    return correct / len(target)


_FIELDS = ("kind", "boots", "instruction", "line", "command", "typing_share", "parameters")


def task_from_table(table: Mapping[str, Any], num_boots: int) -> Task:
    """Builds the task that a card's ``[environments.task]`` table declares.

    Raises:
        ValueError: the table has an unknown field, kind or boot, or a text names an unknown parameter.
    """
    unknown = sorted(set(table) - set(_FIELDS))
    if unknown:
        raise ValueError(f"unknown task field {unknown[0]!r}; a task has {', '.join(_FIELDS)}")
    if table.get("kind") not in SUCCESS:
        raise ValueError(f"unknown task kind {table.get('kind')!r}; choose one of {', '.join(sorted(SUCCESS))}")
    boots = tuple(table.get("boots", (0,)))
    if not boots or any(not isinstance(b, int) or not 0 <= b < num_boots for b in boots):
        raise ValueError(f"task boots are {list(boots)}; list indices from 0 to {num_boots - 1} of the card's boots")
    share = float(table.get("typing_share", 0.0))
    if not 0 <= share < 1:
        raise ValueError(f"typing_share is {share}; choose it from 0 up to, but not including, 1")
    parameters = {name: _word(name, fields) for name, fields in table.get("parameters", {}).items()}
    texts = {name: str(table.get(name, "")) for name in ("instruction", "line", "command")}
    task = Task(table["kind"], boots, **texts, typing_share=share, parameters=parameters)
    if task.kind == "line" and not (task.line and task.command):
        raise ValueError("a task of kind 'line' needs the fields `line` and `command`")
    try:
        length = len(task.instruction.format(**{name: "x" * word.length[1] for name, word in parameters.items()}))
        task.sample(0)
    except KeyError as error:
        raise ValueError(f"a text names the parameter {error}, which has no table under parameters") from None
    if length > BANNER_COLUMNS:
        raise ValueError(
            f"the instruction can get {length} characters long; the banner holds {BANNER_COLUMNS} characters"
        )
    return task


def _word(name: str, fields: Mapping[str, Any]) -> Word:
    letters, length = fields.get("letters", ""), tuple(fields.get("length", ()))
    if set(fields) != {"letters", "length"} or not letters or len(length) != 2 or not 0 < length[0] <= length[1]:
        raise ValueError(f"parameter {name!r} is {dict(fields)}; give it letters and length = [shortest, longest]")
    return Word(letters, (int(length[0]), int(length[1])))
