"""A synthetic user of the terminal that puts right pieces together wrongly, as an agent does before it has learned.

It makes a few files, asks for names that are almost a file's, and enters what a handful of commands, names and signs
give when nobody thinks about spaces: so a neural terminal sees that a name must match as a whole.
"""

from __future__ import annotations

import re
from random import Random

from nc_gym.machines.keys import KEY_INDEX
from nc_gym.traces.home import FAMILY_INDEX, Home
from nc_gym.traces.presses import Events, press, type_text
from nc_gym.traces.words import WORD, Split, is_system_command, random_word, split_of, weighted

_COMMANDS = ("echo ", "cat ", "ls", "ls ", "cd ", "pwd", "touch ", "mkdir ", "rm ", "clear")
_SIGNS = (" ", " ", " > ", " >> ", "echo $((", "+", "))")
_EDITS = ("Backspace", "Left")
_KNOWN = frozenset(word.strip() for word in _COMMANDS)
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_MOST_FILES = 6


class PieceUser:
    """A user that joins pieces. Every word that comes of it belongs to its split, and none is a program's name.

    Args:
        rng: the session's random stream.
        split: which words may be entered.
        pieces: of a line that is joined at random, fewest and most.
        longest: such a line in characters; from 37 on it takes more than one row of the screen.
    """

    def __init__(self, rng: Random, split: Split, pieces: tuple[int, int] = (1, 5), longest: int = 60) -> None:
        self.rng = rng
        self.split = split
        self.pieces = pieces
        self.longest = longest
        self.home = Home()
        self.recent: list[str] = []

    def events(self) -> Events:
        """Yields (event, family) pairs without end."""
        makers = (self._make, self._look, self._near, self._join)
        while True:
            crowded = len(self.home.here) >= _MOST_FILES
            yield from weighted(self.rng, makers, (4 if crowded else 16, 16, 30, 38))()

    def _word(self) -> str:
        word = random_word(self.rng, self.split)
        self.recent = [*self.recent[-3:], word]
        return word

    def _names(self) -> list[str]:
        return [name for name in self.home.here if name.isalnum()]

    def _make(self) -> Events:
        """Makes a file or a folder."""
        form = weighted(self.rng, ("echo {} > {}", "touch {1}", "mkdir {1}"), (55, 25, 20))
        yield from self._enter(form.format(self._word(), self._word()))

    def _look(self) -> Events:
        """Enters a command that makes sense."""
        names = self._names()
        forms = ("ls", "pwd", "clear", "cd", "cat {}", "rm {}", "cd {}")
        form = weighted(self.rng, forms, (34, 3, 10, 6, 30, 14, 8) if names else (34, 3, 10, 6, 0, 0, 0))
        yield from self._enter(form.format(self.rng.choice(names or [""])))

    def _near(self) -> Events:
        """Asks for a name that is almost there: longer, shorter or other in a letter, or two names joined."""
        names = self._names()
        if not names:
            yield from self._make()
            return
        command = weighted(self.rng, ("cat", "rm", "ls", "cd", "cp", "mv"), (60, 16, 10, 6, 4, 4))
        for _ in range(20):
            name, letter = self.rng.choice(names), self.rng.choice(_LETTERS)
            i = self.rng.randrange(len(name))
            forms = (
                name + letter, name + self._word(), self._word() + name, name + self.rng.choice(names),
                name[:-1], name[1:], name[:i] + letter + name[i + 1 :], name[:i] + letter + name[i:],
            )  # fmt: skip
            near = weighted(self.rng, forms, (12, 24, 8, 14, 14, 8, 14, 6))
            line = f"{command} {near}" + (f" {self._word()}" if command in ("cp", "mv") else "")
            if near and near not in self.home.here and self._allowed(line):
                yield from self._enter(line)
                return

    def _join(self) -> Events:
        """Enters, cancels or kills a line of random pieces."""
        line, typed = self._pieces(self.rng.randint(*self.pieces))
        yield from typed
        end = self.rng.random()
        if end < 0.08:
            yield from press("Ctrl-C")
        elif end < 0.12:
            yield from press("Ctrl-U")
        else:
            yield from self._run(line)

    def _pieces(self, number: int) -> tuple[str, Events]:
        """Returns the line that random pieces and editing keys make, and the events that type it."""
        while True:
            line, at, typed = "", 0, list[tuple[int, int]]()
            for _ in range(number):
                piece = self._piece()
                if piece == "Backspace":
                    line, at = line[: max(at - 1, 0)] + line[at:], max(at - 1, 0)
                elif piece == "Left":
                    at = max(at - 1, 0)
                else:
                    line, at = line[:at] + piece + line[at:], at + len(piece)
                typed += press(piece) if piece in _EDITS else type_text(piece)
            if len(line) <= self.longest and self._allowed(line):
                return line, iter(typed)

    def _piece(self) -> str:
        kinds = (_COMMANDS, self._names(), self.recent, (self._word(),), _SIGNS, _EDITS)
        kind = weighted(self.rng, kinds, (34, 30 if kinds[1] else 0, 8 if kinds[2] else 0, 8, 20, 8))
        return self.rng.choice(kind)

    def _allowed(self, line: str) -> bool:
        """Says whether all words of a line may be entered and its first is no program that the user does not know."""
        words = WORD.findall(line)
        mine = (word in _KNOWN or word.isdigit() or split_of(word) == self.split for word in words)
        first = line.split()[0] if line.strip() else ""
        return all(mine) and (first in _KNOWN or not is_system_command(first))

    def _enter(self, line: str) -> Events:
        yield from type_text(line)
        yield from self._run(line)

    def _run(self, line: str) -> Events:
        yield KEY_INDEX["Enter"], FAMILY_INDEX[self.home.run(line)]
        if line.count("$((") > line.count("))") or re.match(r"\s*cat\s*($|>)", line):
            yield from self._wait()

    def _wait(self) -> Events:
        """Types on where bash waits for the rest of a sum or ``cat`` for its input, and gets out."""
        for _ in range(self.rng.choice((0, 0, 1, 2))):
            _, typed = self._pieces(self.rng.randint(1, 2))
            yield from typed
            yield KEY_INDEX["Enter"], FAMILY_INDEX["typist"]
        yield from press("Ctrl-C")
