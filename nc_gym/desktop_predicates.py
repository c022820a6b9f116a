"""Predicates of the desktop: what its windows must be, judged from what ``DesktopView`` sees in the pixels.

A card writes one as a table, for example ``{ open = ["{program}"], closed = ["{other}"] }`` or
``{ window = "Calc", region = [0, 8, 184, 16], text = "{sum}" }``. The fields about windows can also be asked of the
window manager (``TrueWindows``): that is the audit of a success.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nc_gym.desktop_view import TITLES, DesktopView
from nc_gym.inputs import Place
from nc_gym.machines.font import CELL_HEIGHT
from nc_gym.machines.window import Window
from nc_gym.predicates import PROMPT, Predicate, TextView, join_wrapped, predicate_from_table

NEAR = 16  # pixels that a title may be off the place where it shall be
_TEXT_FIELDS = ("after", "line", "has", "lacks")
_KINDS: dict[str, type] = {
    "open": list, "closed": list, "active": str, "window": str, "at": str, "region": list, "text": str,
    "after": str, "line": str, "has": list, "lacks": list,
}  # fmt: skip


@dataclass(frozen=True)
class TrueWindows:
    """The windows of a real desktop as its window manager lists them, lowest first."""

    windows: Sequence[Window]

    def opened(self, title: str) -> bool:
        """Tells whether there is a window with this title, minimised or not."""
        return any(window.title == title for window in self.windows)

    def active(self, title: str) -> bool:
        """Tells whether a window with this title has the keyboard."""
        return any(window.title == title and window.active for window in self.windows)

    def near(self, title: str, place: Place) -> bool:
        """Tells whether a window that is not minimised has its title near a pixel."""
        titles = [(w.x, w.y - CELL_HEIGHT // 2) for w in self.windows if w.title == title and not w.minimized]
        return any(_near(at, place) for at in titles)


@dataclass(frozen=True)
class SeenWindows:
    """The same, as the pixels show it."""

    view: DesktopView

    def opened(self, title: str) -> bool:
        """Tells whether the task list names a window with this title."""
        return any(name == title for name, _ in self.view.tasks or ())

    def active(self, title: str) -> bool:
        """Tells whether a title bar with this title, or its entry in the task list, has the colour of the active one.

        Both are looked at, since either may be out of sight.
        """
        bar = self.view.bar(title)
        return (bar is not None and bar.active) or (title, True) in (self.view.tasks or ())

    def near(self, title: str, place: Place) -> bool:
        """Tells whether a title bar in sight with this title is near a pixel."""
        bars = [(bar.x, bar.y + CELL_HEIGHT // 2) for bar in self.view.bars if bar.title == title]
        return any(_near(at, place) for at in bars)


def _near(at: Place, place: Place) -> bool:
    return abs(at[0] - place[0]) <= NEAR and abs(at[1] - place[1]) <= NEAR


@dataclass(frozen=True)
class WindowPredicate:
    """What has to hold at once. A field that is not given asks for nothing.

    Attributes:
        places: the card's places by name.
        open: titles of windows that must exist, minimised or not.
        closed: titles of which no window may exist.
        active: the title of the window that must have the keyboard, which is the uppermost.
        window: the title of the window that the fields below are about.
        at: a place: the title must begin there, give or take ``NEAR`` pixels.
        region: x, y, width and height in pixels of a part of the window, from the corner below its title.
        text: what that part must say, without the blanks around it.
        lines: what the lines of the region must say, as in a terminal.
    """

    places: Mapping[str, Place]
    open: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    active: str = ""
    window: str = ""
    at: str = ""
    region: tuple[int, int, int, int] = (0, 0, 0, 0)
    text: str = ""
    lines: Predicate | None = None

    def fill(self, values: Mapping[str, str]) -> WindowPredicate:
        """Returns this predicate with the parameters filled in."""
        texts = {name: getattr(self, name).format(**values) for name in ("active", "window", "at", "text")}
        filled = replace(
            self,
            **texts,
            open=tuple(title.format(**values) for title in self.open),
            closed=tuple(title.format(**values) for title in self.closed),
            lines=self.lines and self.lines.fill(values),
        )
        unknown = sorted({*filled.open, *filled.closed, filled.active, filled.window} - {*TITLES, ""})
        if unknown:
            raise ValueError(f"success names the window {unknown[0]!r}; the windows are {', '.join(TITLES)}")
        if filled.at and filled.at not in filled.places:
            raise ValueError(f"success names the place {filled.at!r}; the places are {', '.join(filled.places)}")
        return filled

    def holds(self, view: DesktopView, earlier: WindowPredicate | None = None) -> bool:
        """Tells whether a screen shows it; what held ``earlier`` does not matter."""
        if (self.open or self.closed) and view.tasks is None:
            return False
        return self.windows_hold(SeenWindows(view)) and self._text_holds(view)

    def windows_hold(self, windows: SeenWindows | TrueWindows) -> bool:
        """Tells whether the windows are as they must be, whatever they say."""
        return (
            all(map(windows.opened, self.open))
            and not any(map(windows.opened, self.closed))
            and (not self.active or windows.active(self.active))
            and (not self.window or windows.opened(self.window))
            and (not self.at or windows.near(self.window, self.places[self.at]))
        )

    def _text_holds(self, view: DesktopView) -> bool:
        if not self.text and self.lines is None:
            return True
        bar = view.bar(self.window)
        if bar is None:
            return False
        x, y, width, height = self.region
        rows = view.text(bar.x + x, bar.y + CELL_HEIGHT + y, width, height)
        if not rows:  # the region lies below the screen
            return False
        if self.text and " ".join(row.strip() for row in rows).strip() != self.text:
            return False
        return self.lines is None or self.lines.holds(_terminal(rows, width // 8))

    def describe(self) -> str:
        """Says in Markdown what it asks for."""
        parts = [f"a window `{title}` is open" for title in self.open]
        parts += [f"no window `{title}` is open" for title in self.closed]
        parts += [f"the window `{self.active}` is active"] if self.active else []
        parts += [f"the title of `{self.window}` begins at the place `{self.at}`"] if self.at else []
        parts += [f"the region {list(self.region)} of `{self.window}` says `{self.text}`"] if self.text else []
        parts += [f"in `{self.window}`, {self.lines.describe()}"] if self.lines else []
        return " and ".join(parts)


def _terminal(rows: Sequence[str], columns: int) -> TextView:
    """Returns rows of a window as a terminal's: the last one that says something is being typed on."""
    last = max((i for i, row in enumerate(rows) if row), default=0)
    padded = [row.ljust(columns) for row in rows]
    typed = padded[last] if PROMPT.match(padded[last]) else ""
    return TextView(join_wrapped(padded[: last + (not typed)]), typed, 0)


def window_predicate_from_table(table: Mapping[str, Any], places: Mapping[str, Place]) -> WindowPredicate:
    """Builds the predicate that a card's table declares.

    Raises:
        ValueError: a field is unknown or has the wrong type, nothing is asked for, or fields do not fit.
    """
    wrong = sorted(name for name, value in table.items() if name not in _KINDS or not isinstance(value, _KINDS[name]))
    if wrong:
        raise ValueError(
            f"success has {wrong[0]} = {table[wrong[0]]!r}; use the lists open, closed, region, has, lacks and the "
            "texts active, window, at, text, after, line"
        )
    lines = {name: table[name] for name in _TEXT_FIELDS if name in table}
    about = [name for name in ("at", "text", *_TEXT_FIELDS) if name in table]
    if about and "window" not in table:
        raise ValueError(f"success has {about[0]}, but no window that it is about")
    if ("text" in table or lines) and len(table.get("region", ())) != 4:
        raise ValueError("success has text or lines, but no region = [x, y, width, height] of the window")
    if not (about or table.get("open") or table.get("closed") or table.get("active")):
        raise ValueError(f"success {dict(table)} asks for nothing; give it open, closed, active, or window with at")
    return WindowPredicate(
        places=places,
        **{name: table.get(name, "") for name in ("active", "window", "at", "text")},
        open=tuple(table.get("open", ())),
        closed=tuple(table.get("closed", ())),
        region=tuple(table.get("region", (0, 0, 0, 0))),
        lines=predicate_from_table(lines) if lines else None,
    )
