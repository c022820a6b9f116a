"""A synthetic user of the terminal that hits random keys."""

from __future__ import annotations

from random import Random

from nc_gym.machines.keys import KEY_INDEX
from nc_gym.traces.home import FAMILY_INDEX
from nc_gym.traces.presses import Events, press, type_text
from nc_gym.traces.words import WORD, Split, split_of, unknown_command, weighted

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_PRINTABLE = "".join(chr(code) for code in range(32, 127))
_ALNUM = _LETTERS + _LETTERS.upper() + "0123456789"


class Typist:
    """A user that hits random keys. Lines with characters that mean something to bash are cancelled, never entered.

    Args:
        rng: the session's random stream.
        split: which words may be entered.
    """

    def __init__(self, rng: Random, split: Split) -> None:
        self.rng = rng
        self.split = split
        self.entered = 0

    def events(self) -> Events:
        """Yields (event, family) pairs without end."""
        makers = (self._noise, self._line, self._quoted, self._open_quote, self._history, self._empty)
        while True:
            yield from weighted(self.rng, makers, (38, 34, 12, 3, 8, 5))()

    def _enter(self) -> Events:
        yield KEY_INDEX["Enter"], FAMILY_INDEX["typist"]
        self.entered += 1

    def _noise(self) -> Events:
        """Types random printable characters and editing keys, then cancels the line."""
        for _ in range(self.rng.randint(2, 24)):
            if self.rng.random() < 0.85:
                yield KEY_INDEX[self.rng.choice(_PRINTABLE)], 0
            else:
                yield from press(weighted(self.rng, ("Backspace", "Left", "Right", "Ctrl-L"), (40, 35, 20, 5)))
        if self.rng.random() < 0.35:
            yield from press("Ctrl-U")
        yield from press("Ctrl-C")

    def _word(self, length: int = 0) -> str:
        """Returns 1-7 (or ``length``) letters of both cases and digits that belong to this user's split."""
        while True:
            word = "".join(self.rng.choices(_ALNUM, k=length or self.rng.randint(1, 7)))
            if split_of(word) == self.split:
                return word

    def _line(self) -> Events:
        """Enters an unknown command with arguments that mean nothing to bash."""
        words = [unknown_command(self.rng, self.split)]
        for _ in range(self.rng.randint(0, 3)):
            words.append(self.rng.choice(("", "", *"-.,:+@%_/=^")) + self._word())
        yield from type_text(" ".join(words))
        if self.rng.random() < 0.3:
            yield from type_text(self.rng.choice(_LETTERS))
            yield from press("Backspace")
        yield from self._enter()

    def _quoted(self) -> Events:
        """Echoes random printable characters between single quotes, where bash leaves them alone.

        Wherever two or more letters and digits meet by chance they are drawn again as a word of this user's split.
        """
        marks = _PRINTABLE.replace("'", "")
        words = ["".join(self.rng.choices(marks, k=self.rng.randint(1, 9))) for _ in range(self.rng.randint(1, 3))]
        text = WORD.sub(lambda chance: self._word(len(chance[0])), " ".join(words))
        yield from type_text(f"echo '{text}'")
        yield from self._enter()

    def _open_quote(self) -> Events:
        """Leaves a quote open, meets the continuation prompt, and gets out with Ctrl-C."""
        yield from type_text(f"echo {self.rng.choice(chr(34) + chr(39))}{self._word()}")
        yield from self._enter()
        yield from type_text(self._word())
        yield from press("Ctrl-C")

    def _history(self) -> Events:
        """Walks through earlier lines without editing them."""
        for _ in range(self.rng.randint(1, 4)):
            yield from press(weighted(self.rng, ("Up", "Down"), (70, 30)))
        if self.entered and self.rng.random() < 0.5:
            yield from self._enter()
        else:
            yield from press("Ctrl-C")

    def _empty(self) -> Events:
        yield from self._enter()
