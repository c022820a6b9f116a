"""A synthetic user of the terminal that knows which files it made and mostly types commands that make sense.

It chooses commands (``commands.py``), makes typing mistakes and repairs them, recalls earlier lines and cancels some;
how often it does what are its ``Habits``. It keeps its own books and needs no feedback from the screen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from random import Random

from nc_gym.machines.keys import KEY_INDEX
from nc_gym.traces.commands import CommandChooser
from nc_gym.traces.home import FAMILY_INDEX, Home
from nc_gym.traces.presses import Events, press, type_text
from nc_gym.traces.words import Split, random_sum, random_word, weighted

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_UNIQUE = ("echo", "touch", "mkdir", "rmdir", "cd")  # names that no other command in the sandbox goes on from
_AMBIGUOUS = ("cat", "ls", "pwd", "mv", "cp", "rm", "clear")


@dataclass(frozen=True)
class Habits:
    """How often a goal-directed user does what; a drill user practises what is rare in ordinary sessions."""

    slip: float = 0.022  # at each character
    recall: float = 0.06  # before each command: goes up in the history instead
    blank: float = 0.015  # or enters an empty line
    cancel: float = 0.015  # of the commands: half typed, then Ctrl-C
    kill: float = 0.015  # half typed, Ctrl-U, then typed again
    complete: float = 0.02  # the last word by Tab, where a prefix is enough
    amend: float = 0.035  # one mistake in the middle, repaired with arrow keys
    tab: float = 0.0  # Tab after the command's name or all but its last letter
    longest_word: int = 7  # in letters
    ups: tuple[int, ...] = (62, 24, 9, 5)  # weights of going one, two, ... lines up in the history
    near_end: float = 0.0  # of the mistakes repaired with arrow keys: one to five letters before the end
    alike: float = 0.0  # of the new names: begin as another in the folder does


GOAL_HABITS = Habits()


class GoalUser:
    """A user that knows which files it made and mostly types commands that make sense.

    Args:
        rng: the session's random stream.
        split: which words may be typed.
        weights: weight of each command family.
        habits: how often it slips, recalls, cancels and so on.
    """

    def __init__(self, rng: Random, split: Split, weights: Mapping[str, float], habits: Habits = GOAL_HABITS) -> None:
        self.rng = rng
        self.split = split
        self.habits = habits
        self.home = Home()
        self.chooser = CommandChooser(rng, split, weights, habits.longest_word, habits.alike)

    def events(self) -> Events:
        """Yields (event, family) pairs without end."""
        while True:
            habit, often = self.rng.random(), self.habits
            if habit < often.recall and self.home.history and not self.chooser.pending:
                yield from self._recall()
            elif habit < often.recall + often.blank:
                yield from self._empty_line()
            else:
                yield from self._command(self.chooser.choose(self.home))

    def _command(self, line: str) -> Events:
        habit, often = self.rng.random(), self.habits
        shares = accumulate((often.cancel, often.kill, often.complete, often.amend, often.tab))
        cancel, kill, complete, amend, tab = (habit < share for share in shares)
        if cancel:
            yield from self._abandon(line, "Ctrl-C")
        elif kill:
            yield from self._abandon(line, "Ctrl-U")
            yield from self._type(line)
            yield from self._enter(line)
        elif complete and self._completable(line):
            yield from self._complete(line)
        elif amend and len(line) > 4:
            yield from self._fix_in_the_middle(line)
        elif tab and often.tab and line.partition(" ")[0] in (*_UNIQUE, *_AMBIGUOUS):
            yield from self._complete_command(line)
        else:
            yield from self._type(line)
            yield from self._enter(line)

    def _enter(self, line: str) -> Events:
        yield KEY_INDEX["Enter"], FAMILY_INDEX[self.home.run(line)]
        if line.split() == ["cat"]:
            yield from self._feed()

    def _feed(self) -> Events:
        """Types lines into ``cat`` without a file, which repeats each, and ends it."""
        for _ in range(self.rng.choice((0, 0, 1, 2))):
            yield from self._type(self.chooser.word())
            yield KEY_INDEX["Enter"], FAMILY_INDEX["cat"]
        yield from press("Ctrl-C")

    def _type(self, line: str) -> Events:
        """Types ``line``; some characters come out wrong, are noticed at once or a little later, and are corrected."""
        position = 0
        while position < len(line):
            if self.rng.random() < self.habits.slip:
                wrong = self._slip(line, position)
                yield from type_text(wrong)
                yield from press(*["Backspace"] * len(wrong))
            if self.rng.random() < 0.0006:
                yield from press("Ctrl-L")
            yield KEY_INDEX[line[position]], 0
            position += 1

    def _slip(self, line: str, position: int) -> str:
        """Returns what is typed by mistake at ``position``: a wrong letter, perhaps with right ones after it."""
        kind = self.rng.random()
        after = line[position + 1 : position + 1 + self.rng.choice((0, 0, 1, 2))]
        if kind < 0.6 or len(line) < 2:
            return self.rng.choice(_LETTERS) + after
        if kind < 0.8 and position + 1 < len(line):
            return line[position + 1] + line[position]
        return self.rng.choice(_LETTERS) + self.rng.choice(_LETTERS + " ")

    def _abandon(self, line: str, key: str) -> Events:
        yield from self._type(line[: self.rng.randint(1, len(line))])
        yield from press(key)

    def _fix_in_the_middle(self, line: str) -> Events:
        """Types ``line`` with one mistake, walks left to it, repairs it, and enters from there or from the end."""
        if self.habits.near_end and self.rng.random() < self.habits.near_end:
            yield from self._fix_near_the_end(line)
            return
        place = self.rng.randrange(max(0, len(line) - 8), len(line) - 1)
        wrong = weighted(self.rng, ("", self.rng.choice(_LETTERS)), (50, 50))
        replaced = self.rng.random() < 0.5 or not wrong
        tail = line[place + 1 :] if replaced else line[place:]
        yield from self._type(line[:place] + wrong + tail)
        yield from press(*["Left"] * len(tail), *["Backspace"] * len(wrong))
        if replaced:
            yield KEY_INDEX[line[place]], 0
        if self.rng.random() < 0.5:
            yield from press(*["Right"] * len(tail))
        yield from self._enter(line)

    def _fix_near_the_end(self, line: str) -> Events:
        """Repairs a letter too many, two, a wrong one or a missing one that few right letters stand behind."""
        behind = weighted(self.rng, (1, 2, 3, 4, 5), (40, 25, 15, 12, 8))
        behind = min(behind, len(line) - 1)
        head, tail = line[:-behind], line[-behind:]
        typed, rubbed, added = weighted(
            self.rng,
            (
                (head + self.rng.choice(_LETTERS), 1, ""),
                (head + "".join(self.rng.choices(_LETTERS, k=2)), 2, ""),
                (head[:-1] + self.rng.choice(_LETTERS), 1, head[-1]),
                (head[:-1], 0, head[-1]),
            ),
            (58, 10, 20, 12),
        )
        yield from self._type(typed + tail)
        too_far = bool(typed) and self.rng.random() < 0.1  # at the line's start there is no further
        yield from press(*["Left"] * (behind + too_far), *["Right"] * too_far, *["Backspace"] * rubbed)
        yield from type_text(added)
        if self.rng.random() < 0.42:
            yield from press(*["Right"] * behind)
        yield from self._enter(line)

    def _completable(self, line: str) -> bool:
        """Says whether the last word is a file or folder that a prefix of two letters already picks out."""
        command, _, name = line.rpartition(" ")
        if command not in ("cat", "rm", "ls") or name not in self.home.here or len(name) < 3:
            return False
        return sum(other.startswith(name[:2]) for other in self.home.here) == 1

    def _complete(self, line: str) -> Events:
        command, _, name = line.rpartition(" ")
        yield from self._type(f"{command} {name[:2]}")
        yield from press("Tab")
        yield from self._enter(line + (" " if name in self.home.files() else "/"))

    def _complete_command(self, line: str) -> Events:
        """Types the command's name and Tab, which adds a space, and a missing letter, if no other name begins alike."""
        command, space, rest = line.partition(" ")
        unique = command in _UNIQUE and space
        short = unique and len(command) > 3 and self.rng.random() < 0.4
        yield from self._type(command[:-1] if short else command)
        yield from press("Tab")
        yield from self._type(rest if unique else space + rest)
        yield from self._enter(line)

    def _empty_line(self) -> Events:
        if self.rng.random() < 0.35:
            yield from press("Ctrl-L")
        else:
            yield from self._enter("")

    def _recall(self) -> Events:
        """Goes up in the history, perhaps too far and down again, and runs that line, edited or as it is."""
        history = self.home.history
        ups = self.habits.ups
        up = min(len(history), weighted(self.rng, range(1, len(ups) + 1), ups))
        down = 1 if up > 1 and self.rng.random() < 0.2 else 0
        yield from press(*["Up"] * up, *["Down"] * down)
        line = history[-(up - down)]
        habit = self.rng.random()
        if habit < 0.08:
            yield from press("Ctrl-U" if self.rng.random() < 0.5 else "Ctrl-C")
            return
        if habit < 0.45:
            new = self._edited_end(line)
            if new is not None:
                cut, text = new
                yield from press(*["Backspace"] * cut)
                yield from self._type(text)
                line = line[: len(line) - cut] + text
        yield from self._enter(line)

    def _edited_end(self, line: str) -> tuple[int, str] | None:
        """Returns how many characters to rub out at the end of ``line`` and what to type instead; None to leave it."""
        if line.endswith("))"):
            start = line.rindex("(") + 1
            return len(line) - start, random_sum(self.rng, self.split) + "))"
        head, _, last = line.rpartition(" ")
        if not head or not last.isalnum() or head in ("cd", "rmdir"):
            return None
        names = self.home.files()
        if names and head in ("cat", "rm"):
            return len(last), self.rng.choice(names)
        return len(last), random_word(self.rng, self.split)
