"""Predicates: what a screen must show, judged from the characters that ``nc_gym.reader`` read and from nothing else.

A card writes a predicate as a table, for example ``{ after = "~$ ls", has = ["{file}"] }``. Rows that a long line fills
to the edge are joined with the next one. What stands on the row of the cursor is still being typed; only ``prompt``
looks at it. A row that is full to the edge but whose next one begins with a prompt was a whole line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SHOWN = r"^(?:~|/|[\w.-]+)\$ "  # bash shows the name of the working folder
_SHOWN_PROMPT = re.compile(_SHOWN)  # in a row whose trailing blanks are there
PROMPT = re.compile(_SHOWN + "?")


@dataclass(frozen=True)
class TextView:
    """What a terminal shows.

    Attributes:
        lines: the lines above the one with the cursor, wrapped rows joined.
        typed: the row with the cursor.
        column: of the cursor.
    """

    lines: Sequence[str]
    typed: str
    column: int


@dataclass(frozen=True)
class Predicate:
    """What has to hold at once. A field that is not given asks for nothing.

    Attributes:
        after: a whole line, prompt and command: the last such line counts, and the others look only at its output.
        line: a line must be exactly this.
        has: words that must occur.
        lacks: words that must not occur.
        prompt: the folder's name in the prompt at which the cursor stands.
    """

    after: str = ""
    line: str = ""
    has: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    prompt: str = ""

    def fill(self, values: Mapping[str, str]) -> Predicate:
        """Returns this predicate with the parameters filled in."""
        return Predicate(
            after=self.after.format(**values),
            line=self.line.format(**values),
            has=tuple(word.format(**values) for word in self.has),
            lacks=tuple(word.format(**values) for word in self.lacks),
            prompt=self.prompt.format(**values),
        )

    def holds(self, view: TextView, earlier: Predicate | None = None) -> bool:
        """Tells whether a screen shows it.

        Args:
            view: what the screen shows.
            earlier: a predicate that held before; what lies above what it looked at does not count.
        """
        lines, typed = view.lines, view.typed
        first = 0 if earlier is None else earlier.place(lines) + 1
        if self.prompt and not typed.startswith(f"{self.prompt}$ "):
            return False
        if self.after:
            start = _last(self.after, lines)
            if start < first:
                return False
            first = start + 1
        ends = [i for i in range(first, len(lines)) if PROMPT.match(lines[i])] if self.after else []
        if self.after and not ends and not PROMPT.match(typed):  # the command still runs
            return False
        shown = lines[first : ends[0] if ends else len(lines)]
        words = {word for line in shown for word in line.split()}
        return (not self.line or self.line in shown) and words.issuperset(self.has) and words.isdisjoint(self.lacks)

    def place(self, lines: Sequence[str]) -> int:
        """Returns the last line that it is about, -1 if none."""
        return _last(self.after or self.line, lines)

    def describe(self) -> str:
        """Says in Markdown what it asks for."""
        parts = [f"a line is exactly `{self.line}`"] if self.line else []
        parts += [f"the word `{word}` occurs" for word in self.has]
        parts += [f"the word `{word}` does not occur" for word in self.lacks]
        text = " and ".join(parts)
        if self.after:
            text = f"in the output of the last line `{self.after}`, {text}"
        if self.prompt:
            text = ", ".join(part for part in (f"the prompt is `{self.prompt}$`", text) if part)
        return text


def _last(text: str, lines: Sequence[str]) -> int:
    """Returns the index of the last line that is ``text``, -1 if there is none or no text."""
    return max((i for i, line in enumerate(lines) if line == text), default=-1) if text else -1


def text_view(chars: NDArray[np.uint8], cursor: NDArray[np.int64]) -> TextView | None:
    """Returns what the characters of a terminal say, or None if there is no cursor.

    Args:
        chars: character codes, uint8 (rows, columns); 127 becomes "?".
        cursor: row and column of the cursor, int64 (2,), or (-1, -1).
    """
    if cursor[0] < 0:
        return None
    rows = [row.tobytes().replace(b"\x7f", b"?").decode("ascii") for row in chars[: cursor[0] + 1]]
    return TextView(join_wrapped(rows[:-1]), rows[-1], int(cursor[1]))


def join_wrapped(rows: Sequence[str]) -> list[str]:
    """Joins rows that are full to the edge with the next one unless that is a prompt's; strips trailing blanks."""
    lines: list[str] = []
    joins = False
    for row in rows:
        lines = [*lines[:-1], lines[-1] + row] if joins and not _SHOWN_PROMPT.match(row) else [*lines, row]
        joins = row[-1] != " "
    return [line.rstrip() for line in lines]


def predicate_from_table(table: Mapping[str, Any]) -> Predicate:
    """Builds the predicate that a card's table declares.

    Raises:
        ValueError: a field is unknown or has the wrong type, or nothing is asked for.
    """
    kinds = {"after": str, "line": str, "has": list, "lacks": list, "prompt": str}
    wrong = sorted(name for name, value in table.items() if name not in kinds or not isinstance(value, kinds[name]))
    if wrong:
        raise ValueError(
            f"success has {wrong[0]} = {table[wrong[0]]!r}; use the texts after, line, prompt and the lists has, lacks"
        )
    texts = {name: table.get(name, "") for name in ("after", "line", "prompt")}
    predicate = Predicate(**texts, has=tuple(table.get("has", ())), lacks=tuple(table.get("lacks", ())))
    if not (predicate.line or predicate.has or predicate.prompt or (predicate.after and predicate.lacks)):
        raise ValueError(f"success {dict(table)} asks for nothing; give it line, has, prompt, or lacks with after")
    return predicate
