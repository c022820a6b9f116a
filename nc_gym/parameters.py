"""Task parameters: what is drawn anew for every episode, and which draws are for training and which for testing.

A parameter is a table of a card; drawn values are texts by name. A hash of all values of an episode decides its split,
one in five is for testing, so no episode of the test split can ever occur in training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np

SPLITS = ("train", "test")
_HASH_KEY = b"nc_gym tasks 1"
_TEST_ONE_IN = 5
_TRIES = 2000  # draws until a task counts as having no values of a split

Values = dict[str, str]


@dataclass(frozen=True)
class Word:
    """A random word over ``letters`` whose length lies in ``length`` (both ends included)."""

    letters: str
    length: tuple[int, int]

    def draw(self, rng: np.random.Generator, values: Values) -> str:
        """Draws a word."""
        size = rng.integers(self.length[0], self.length[1] + 1)
        return "".join(self.letters[i] for i in rng.integers(len(self.letters), size=size))

    def longest(self) -> str:
        """Returns a value that no other is longer than."""
        return self.letters[0] * self.length[1]

    def describe(self) -> str:
        """Says in Markdown what is drawn."""
        return f"{self.length[0]} to {self.length[1]} of the letters `{self.letters}`"


@dataclass(frozen=True)
class Number:
    """A random whole number from ``lowest`` to at most ``highest``, in steps of ``step``."""

    lowest: int
    highest: int
    step: int = 1

    def draw(self, rng: np.random.Generator, values: Values) -> str:
        """Draws a number."""
        return str(self.lowest + self.step * rng.integers((self.highest - self.lowest) // self.step + 1))

    def longest(self) -> str:
        """Returns a value that no other is longer than."""
        return str(self.highest)

    def describe(self) -> str:
        """Says in Markdown what is drawn."""
        return f"{self.lowest} to {self.highest}" + (f" in steps of {self.step}" if self.step > 1 else "")


@dataclass(frozen=True)
class Choice:
    """One of ``choices``."""

    choices: tuple[str, ...]

    def draw(self, rng: np.random.Generator, values: Values) -> str:
        """Draws one of the choices."""
        return self.choices[rng.integers(len(self.choices))]

    def longest(self) -> str:
        """Returns a value that no other is longer than."""
        return max(self.choices, key=len)

    def describe(self) -> str:
        """Says in Markdown what is drawn."""
        return "one of " + ", ".join(f"`{choice}`" for choice in self.choices)


@dataclass(frozen=True)
class Sum:
    """The sum of numbers drawn before it."""

    of: tuple[str, ...]
    largest: int

    def draw(self, rng: np.random.Generator, values: Values) -> str:
        """Adds; draws nothing."""
        return str(sum(int(values[name]) for name in self.of))

    def longest(self) -> str:
        """Returns a value that no other is longer than."""
        return str(self.largest)

    def describe(self) -> str:
        """Says in Markdown what it is."""
        return " + ".join(f"`{name}`" for name in self.of)


@dataclass(frozen=True)
class Pick:
    """The value of one of the parameters ``of`` above it: the first's if ``at`` has the value "1", and so on."""

    of: tuple[str, ...]
    at: str
    widest: str

    def draw(self, rng: np.random.Generator, values: Values) -> str:
        """Picks; draws nothing."""
        return values[self.of[int(values[self.at]) - 1]]

    def longest(self) -> str:
        """Returns a value that no other is longer than."""
        return self.widest

    def describe(self) -> str:
        """Says in Markdown what it is."""
        return f"number `{self.at}` of " + ", ".join(f"`{name}`" for name in self.of)


Parameter = Word | Number | Choice | Sum | Pick


def draw_values(parameters: Mapping[str, Parameter], rng: np.random.Generator, split: str) -> Values:
    """Draws the values of one episode; words and choices of one episode all differ.

    Args:
        parameters: by name.
        rng: the random stream, used only here.
        split: "train" or "test". Without parameters both splits are the same.

    Raises:
        ValueError: the parameters leave (next to) nothing for this split.
    """
    for _ in range(_TRIES):
        values: Values = {}
        for name, parameter in parameters.items():
            values[name] = parameter.draw(rng, values)
        texts = [values[name] for name, parameter in parameters.items() if isinstance(parameter, (Word, Choice))]
        if len(set(texts)) == len(texts) and (not parameters or split_of(values) == split):
            return values
    raise ValueError(f"the parameters leave no values for split {split!r}; give them more letters, numbers or choices")


def split_of(values: Values) -> str:
    """Returns the split, "train" or "test", that these values belong to."""
    text = "\0".join(f"{name}={value}" for name, value in sorted(values.items()))
    digest = blake2b(text.encode(), digest_size=4, key=_HASH_KEY).digest()
    return "test" if int.from_bytes(digest, "big") % _TEST_ONE_IN == 0 else "train"


def parameter_from_table(name: str, fields: Mapping[str, Any], earlier: Mapping[str, Parameter]) -> Parameter:
    """Builds the parameter that a card's table declares.

    Args:
        name: of the parameter.
        fields: its table.
        earlier: the parameters declared before it, which a sum may name.

    Raises:
        ValueError: the table is none of the known forms.
    """
    if set(fields) == {"letters", "length"} and fields["letters"] and _ordered(fields["length"], lowest=1):
        return Word(str(fields["letters"]), (fields["length"][0], fields["length"][1]))
    step = fields.get("step", 1)
    if set(fields) - {"step"} == {"range"} and _ordered(fields["range"], lowest=0) and type(step) is int and step > 0:
        lowest, highest = fields["range"]
        return Number(lowest, highest, step)
    if set(fields) == {"choices"} and fields["choices"]:
        return Choice(tuple(map(str, fields["choices"])))
    terms = fields.get("sum", ())
    if set(fields) == {"sum"} and terms and all(isinstance(earlier.get(term), Number) for term in terms):
        return Sum(tuple(terms), sum(int(earlier[term].longest()) for term in terms))
    if set(fields) == {"pick", "at"} and _picks(fields, earlier):
        of = tuple(fields["pick"])
        return Pick(of, fields["at"], max((earlier[term].longest() for term in of), key=len))
    raise ValueError(
        f"parameter {name!r} is {dict(fields)}; give it letters and length = [shortest, longest], or "
        "range = [lowest, highest] (and perhaps step), or choices = [texts], or sum = [names of ranges above it], or "
        "pick = [names above it] and at = name of the choice or range that counts them from 1"
    )


def _picks(fields: Mapping[str, Any], earlier: Mapping[str, Parameter]) -> bool:
    """Tells whether the table of a pick names earlier parameters, and one that counts no further than they go."""
    counter = earlier.get(fields["at"])
    if isinstance(counter, Number):
        numbers = [str(counter.lowest), str(counter.highest)]
    else:
        numbers = list(counter.choices) if isinstance(counter, Choice) else []
    counts = bool(numbers) and all(n.isdecimal() and 1 <= int(n) <= len(fields["pick"]) for n in numbers)
    return counts and all(term in earlier for term in fields["pick"])


def _ordered(pair: object, lowest: int) -> bool:
    """Tells whether ``pair`` is a list of two whole numbers in order, the first at least ``lowest``."""
    whole = isinstance(pair, list) and len(pair) == 2 and all(type(number) is int for number in pair)
    return whole and lowest <= pair[0] <= pair[1]  # type: ignore[index]
