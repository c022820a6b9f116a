"""Tasks: what the user of a computer is asked to do, judged from what the screen shows and from nothing else.

A task is declared in a card (``envs/*.toml``; docs/tasks.md shows how). It is judged from the view that a reader
(``nc_gym.reader``, ``nc_gym.desktop_reader``) got from the pixels, so one code judges neural and real screens:

* **Success** is a list of predicates (``nc_gym.predicates``, ``nc_gym.desktop_predicates``), met in their order. Each
  must hold on ``HOLD`` successive screens (the one on which it first holds is the first of them), so that one
  flickering screen is no success.
* **Shaping** is best-so-far progress through the lines that the oracle types, each with its Enter: typing more of them
  correctly after the prompt than ever before in the episode earns ``typing_share`` times the gain; what stands there
  when the episode begins, typing it again, or erasing and retyping it, earns nothing. Only a terminal's tasks have it.
* Success earns what is left up to 1. The rewards of an episode therefore sum to a number in [0, 1], and to 1 exactly
  when the task was solved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from nc_gym.desktop_predicates import WindowPredicate
from nc_gym.desktop_view import DesktopView
from nc_gym.inputs import Event
from nc_gym.kinds import Goals, Kind, TerminalKind, View
from nc_gym.parameters import SPLITS, Parameter, Values, draw_values, parameter_from_table
from nc_gym.predicates import PROMPT, TextView
from nc_gym.scripts import has_keys, repeated, script_events

HOLD = 2  # successive screens that must show success
PROMPT_END = "$ "
BANNER_COLUMNS = 40  # the longest instruction


@dataclass(frozen=True)
class Start:
    """Where an episode begins: the card's boot number ``boot``, and then the ``events`` of the task's setup."""

    boot: int
    events: tuple[Event, ...] = ()


@dataclass(frozen=True)
class Goal:
    """One row's instance of a task, the drawn parameters filled in.

    Attributes:
        start: index into ``Task.starts``.
        instruction: the text of the banner.
        success: what the screen must show, in this order; empty for free use.
        commands: the lines that the shaping rewards.
        script: the oracle's events.
        words: the oracle's actions with ``actions="words"``, by name.
        audit: a condition on the real machine's files that a true success meets; may be empty.
    """

    start: int
    instruction: str
    success: Goals
    commands: tuple[str, ...] = ()
    script: tuple[Event, ...] = ()
    words: tuple[str, ...] = ()
    audit: str = ""


@dataclass
class Episode:
    """One row's goal and how far it has come.

    Attributes:
        entered: how many of the goal's commands have been entered, in their order.
        first: progress through the commands that the first screen showed, in [0, 1].
        best: the largest progress so far.
        met: how many of the goal's predicates have been met.
        held: number of successive screens, up to the present one, that showed the next predicate.
        success: whether the task is solved.
    """

    goal: Goal
    entered: int = 0
    first: float = 0.0
    best: float = 0.0
    met: int = 0
    held: int = 0
    success: bool = False


@dataclass(frozen=True)
class Task:
    """A task from a card.

    Attributes:
        kind: the kind of computer that it is for.
        instruction: the text in the banner; ``{name}`` stands for a parameter, here and in the other texts.
        success: what the screen must show; empty for free use.
        oracle: a script (``nc_gym.scripts``) that solves the task from its start.
        oracle_words: the same as actions of the "words" preset; empty if the task cannot be solved with them.
        typing_share: the part of the return that typing the oracle's lines earns.
        setup: a script that prepares the computer before the episode begins.
        setups: how many different setups each split has; 0 without a setup.
        audit: a condition on files in the home of the real machine, as ``kind.audit`` takes it.
        boots: indices into the card's boots; an episode starts from one of them, drawn from its seed.
        parameters: what is drawn anew for every episode.
    """

    kind: Kind = field(hash=False, compare=False)
    instruction: str = ""
    success: Goals = field(default=(), hash=False)
    oracle: str = ""
    oracle_words: tuple[str, ...] = ()
    typing_share: float = 0.0
    setup: str = ""
    setups: int = 0
    audit: str = ""
    boots: tuple[int, ...] = (0,)
    parameters: Mapping[str, Parameter] = field(default_factory=dict, hash=False)

    @property
    def audited(self) -> bool:
        """Whether a real machine's true state is asked to confirm a success."""
        return self.kind.audits(self.success, self.audit)

    def starts(self, split: str, num_boots: int) -> list[Start]:
        """Returns what an episode of ``split`` can begin from: one start per setup, else one per boot of the card."""
        if not self.setups:
            return [Start(boot) for boot in range(num_boots)]
        drawn = self._setup_values(split)
        return [Start(self.boots[i % len(self.boots)], self._setup_events(values)) for i, values in enumerate(drawn)]

    def sample(self, seed: int, split: str = "train") -> Goal:
        """Draws an episode's goal; the same seed and split always give the same goal."""
        rng = np.random.default_rng(seed)
        if self.setups:
            start = int(rng.integers(self.setups))
            return self._goal(start, self._setup_values(split)[start])
        values = draw_values(self.parameters, rng, split)
        return self._goal(self.boots[rng.integers(len(self.boots))], values)

    def example(self, split: str = "train") -> Goal:
        """Draws some goal of ``split``, of an episode or not, without drawing every setup."""
        return self._goal(self.boots[0], draw_values(self.parameters, np.random.default_rng(0), split))

    @cache  # noqa: B019 - tasks live as long as their cards, which are kept
    def _setup_values(self, split: str) -> tuple[Values, ...]:
        """Draws the values of every setup of ``split``, all different."""
        rng = np.random.default_rng([self.setups, SPLITS.index(split)])
        drawn: list[Values] = []
        for _ in range(100 * self.setups):
            values = draw_values(self.parameters, rng, split)
            if values not in drawn:
                drawn.append(values)
            if len(drawn) == self.setups:
                return tuple(drawn)
        raise ValueError(
            f"the parameters give only {len(drawn)} setups for split {split!r}, but setups = {self.setups}; lower it"
        )

    def _setup_events(self, values: Values) -> tuple[Event, ...]:
        return tuple(script_events(self.setup, values, self.kind.inputs))

    def _goal(self, start: int, values: Values) -> Goal:
        inputs = self.kind.inputs
        setup = self._setup_events(values)
        script = script_events(self.oracle, values, inputs, setup[-1] if setup else inputs.first)
        lines = self.oracle.format(**values).split("\n") if self.typing_share else []
        return Goal(
            start=start,
            instruction=self.instruction.format(**values),
            success=tuple(predicate.fill(values) for predicate in self.success),  # type: ignore[arg-type]
            commands=tuple(line for line in lines if line),
            script=(*script, *[inputs.idle(script[-1])] * (HOLD - 1)) if self.success else (),
            words=tuple(name for word in self.oracle_words for name in repeated(word, values, inputs)),
            audit=self.audit.format(**values),
        )

    def begin(self, goal: Goal, view: View | None) -> Episode:
        """Starts an episode at its first screen; arguments as for ``judge``."""
        episode = Episode(goal)
        if self.typing_share and isinstance(view, TextView):
            episode.first = episode.best = _progress(episode, view)
        return episode

    def judge(self, episode: Episode, view: View | None) -> float:
        """Looks at the screen after an event, brings ``episode`` up to date and returns the reward.

        Args:
            episode: the row's episode, changed in place. After success every reward is 0.
            view: what the reader made of the screen. None says nothing (a terminal without a cursor): it breaks a run
                of successful screens and earns nothing.
        """
        if episode.success or not self.success:
            return 0.0
        if view is None:
            episode.held = 0
            return 0.0
        earned = self._earned(episode)
        if self.typing_share and isinstance(view, TextView):
            episode.best = max(episode.best, _progress(episode, view))
        episode.held = episode.held + 1 if _holds(episode, view) else 0
        if episode.held >= HOLD:
            episode.met, episode.held = episode.met + 1, 0
        episode.success = episode.met == len(episode.goal.success)
        return (1.0 if episode.success else self._earned(episode)) - earned

    def _earned(self, episode: Episode) -> float:
        return self.typing_share * (episode.best - episode.first)


def _holds(episode: Episode, view: View) -> bool:
    """Tells whether a screen shows the next predicate."""
    goals = episode.goal.success
    goal, earlier = goals[episode.met], goals[episode.met - 1] if episode.met else None
    if isinstance(goal, WindowPredicate):
        assert isinstance(view, DesktopView)
        return goal.holds(view)
    assert isinstance(view, TextView) and not isinstance(earlier, WindowPredicate)
    return goal.holds(view, earlier)


def _progress(episode: Episode, view: TextView) -> float:
    """Counts the commands entered so far and returns the progress through all of them, 0 to 1."""
    commands = episode.goal.commands
    entered = {PROMPT.sub("", line, count=1) for line in view.lines if PROMPT.match(line)}
    while episode.entered < len(commands) and commands[episode.entered].rstrip() in entered:
        episode.entered += 1
    if episode.entered == len(commands):
        return 1.0
    return (episode.entered + _share_typed(commands[episode.entered], view.typed[: view.column])) / len(commands)


def _share_typed(command: str, row: str) -> float:
    """Returns how much of ``command`` stands correctly after the prompt of ``row`` (up to the cursor), below 1.

    The Enter that is missing counts as one more character: if it earned nothing, agents would type a line and stop.
    """
    start = row.find(PROMPT_END)
    if start < 0:
        return 0.0
    correct = 0
    for typed, wanted in zip(row[start + len(PROMPT_END) :], command, strict=False):
        if typed != wanted:
            break
        correct += 1
    return correct / (len(command) + 1)


_FIELDS = tuple(name for name in Task.__dataclass_fields__ if name != "kind")


def task_from_table(table: Mapping[str, Any], num_boots: int, kind: Kind) -> Task:
    """Builds the task that a card's ``[environments.task]`` table declares for a kind of computer.

    Raises:
        ValueError: the table has an unknown field or boot, a text names an unknown parameter, or fields do not fit.
    """
    unknown = sorted(set(table) - set(_FIELDS))
    if unknown:
        raise ValueError(f"unknown task field {unknown[0]!r}; a task has {', '.join(_FIELDS)}")
    boots = tuple(table.get("boots", (0,)))
    if not boots or any(not isinstance(b, int) or not 0 <= b < num_boots for b in boots):
        raise ValueError(f"task boots are {list(boots)}; list indices from 0 to {num_boots - 1} of the card's boots")
    parameters: dict[str, Parameter] = {}
    for name, fields in table.get("parameters", {}).items():
        parameters[name] = parameter_from_table(name, fields, parameters)
    task = Task(
        **{name: str(table.get(name, "")) for name in ("instruction", "oracle", "setup", "audit")},
        kind=kind,
        success=tuple(kind.predicate(predicate) for predicate in table.get("success", ())),  # type: ignore[arg-type]
        oracle_words=tuple(table.get("oracle_words", ())),
        typing_share=float(table.get("typing_share", 0.0)),
        setups=int(table.get("setups", 0)),
        boots=boots,
        parameters=parameters,
    )
    _check(task)
    return task


def _check(task: Task) -> None:
    """Raises ValueError if the fields of a task do not fit together."""
    if not 0 <= task.typing_share < 1:
        raise ValueError(f"typing_share is {task.typing_share}; choose it from 0 up to, but not including, 1")
    if bool(task.success) != bool(task.oracle):
        missing = "oracle" if task.success else "success"
        raise ValueError(f"the field {missing!r} is missing; a task has both success and oracle, free use has neither")
    if task.typing_share and (not isinstance(task.kind, TerminalKind) or has_keys(task.oracle, task.kind.inputs)):
        raise ValueError(
            "typing_share rewards typed lines of a terminal, but this is a desktop or the oracle presses named keys; "
            "set typing_share = 0"
        )
    if bool(task.setup) != (task.setups > 0):
        raise ValueError("setup and setups go together: the script, and how many different ones each split has")
    longest = {name: parameter.longest() for name, parameter in task.parameters.items()}
    try:
        length = len(task.instruction.format(**longest))
        for split in SPLITS:
            task.example(split)
    except KeyError as error:
        raise ValueError(f"a text names the parameter {error}, which has no table under parameters") from None
    if length > BANNER_COLUMNS:
        raise ValueError(
            f"the instruction can get {length} characters long; the banner holds {BANNER_COLUMNS} characters"
        )
