"""What a desktop's pixels show: which windows have a title bar in sight or an entry in the task list, and their texts.

A title is found where its pixels have the two colours of a title bar; of the titles that the programs have, the one
that differs in the fewest pixels counts, and pixels of neither colour (the pointer's) count for none. So a pointer on a
title hides nothing. Texts inside windows must be read exactly: what the pointer covers is not there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nc_gym.machines.desktop_events import BIN
from nc_gym.machines.font import CELL_HEIGHT, CELL_WIDTH, FIRST_CHAR, GLYPHS, PALETTE

_LEVEL = ((np.arange(256) + 42) // 85).astype(np.uint8)  # of a channel: the nearest of 0, 85, 170 and 255


def colour_codes(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns which of the 64 colours with channels 0, 85, 170 or 255 is nearest to each pixel, (..., 3) -> (...)."""
    red, green, blue = (_LEVEL[pixels[..., channel]] for channel in range(3))
    return np.asarray(red << 4 | green << 2 | blue, np.uint8)


BLACK, BLUE, GREY, DARK, WHITE = (int(code) for code in colour_codes(PALETTE[[0, 4, 7, 8, 15]]))
TITLES = ("Term", "Calc", "Edit")  # of the programs that the desktop has
BAR_COLOURS = ((WHITE, BLUE), (GREY, DARK))  # title of the active window, of the others
TASK_COLOURS = ((WHITE, BLUE), (BLACK, GREY))
TASKS = tuple((140 + 64 * slot, 220) for slot in range(3))  # upper left pixel of each entry's text
PANEL_TOP = 216
_TITLE = 4  # characters
_AGREE = 0.7  # the share of a title's known pixels that must be right
_KNOWN = 0.75  # the share of a title's pixels that must have one of its colours
_LIST_X = slice(117, 316)  # pixels of the task list
_DOTS = np.array([1, 1, 0, 1, 1], np.bool_)  # two dots of the ellipsis that shortens a title where there are many
_DOTS_Y, _ABOVE_Y = slice(230, 232), slice(222, 230)  # pixel rows of its dots, and of what letters have above them


def _bits(text: str) -> NDArray[np.bool_]:
    """Returns which pixels of a text of four characters are drawn, bool (16, 32)."""
    return np.concatenate([GLYPHS[ord(char) - FIRST_CHAR] for char in text], 1)


_NAMES = (*TITLES, "")
_STAMPS = np.stack([*map(_bits, TITLES), _bits("    ")])


@dataclass(frozen=True)
class TitleBar:
    """A window's title bar in sight.

    Attributes:
        title: what it says.
        x, y: the upper left pixel of its text, 4 pixels right of the window's left edge.
        active: whether its window has the keyboard.
    """

    title: str
    x: int
    y: int
    active: bool


class DesktopView:
    """What one screen shows.

    Args:
        codes: the colours of its pixels (``colour_codes``), uint8 (240, 320).
        chars: the character at each point of the grid, uint8 (60, 80), 127 where something is that is none.
    """

    def __init__(self, codes: NDArray[np.uint8], chars: NDArray[np.uint8]) -> None:
        self._codes = codes
        self._chars = chars

    @cached_property
    def bars(self) -> list[TitleBar]:
        """The title bars in sight, in reading order."""
        places = {(r, c - 2 * k) for title in TITLES for k, char in enumerate(title)
                  for r, c in np.argwhere(self._chars[: PANEL_TOP // BIN] == ord(char)).tolist()}  # fmt: skip
        found = [self._bar(c * BIN, r * BIN) for r, c in sorted(places) if 0 <= c <= self._chars.shape[1] - 2 * _TITLE]
        return [bar for bar in found if bar is not None]

    def _bar(self, x: int, y: int) -> TitleBar | None:
        """Returns the title bar whose text begins at pixel (x, y), if there is one."""
        if y + CELL_HEIGHT > PANEL_TOP:
            return None
        for active, colours in zip((True, False), BAR_COLOURS, strict=True):
            title = self._stamp(x, y, colours)
            if title in TITLES:
                return TitleBar(title, x, y, active)
        return None

    @cached_property
    def tasks(self) -> list[tuple[str, bool]] | None:
        """Title and whether active of each entry of the task list, or None if it cannot be read.

        With more than three windows the task list shows no titles.
        """
        if self._shortened():
            return None
        entries: list[tuple[str, bool]] = []
        for x, y in TASKS:
            names = [self._stamp(x, y, colours) for colours in TASK_COLOURS]
            title = next((name for name in names if name in TITLES), None)
            if title is None:
                return None if names[1] != "" else entries
            entries.append((title, names[0] == title))
        return entries

    def _shortened(self) -> bool:
        """Tells whether an ellipsis stands in the task list."""
        ink = np.isin(self._codes[:, _LIST_X], (BLACK, WHITE))
        dots, above = ink[_DOTS_Y].all(0), ink[_ABOVE_Y].any(0)
        windows = np.lib.stride_tricks.sliding_window_view
        same = (windows(dots, len(_DOTS)) == _DOTS).all(1) & ~windows(above, len(_DOTS)).any(1)
        return bool(same.any())

    def _stamp(self, x: int, y: int, colours: tuple[int, int]) -> str | None:
        """Returns which title (or blank) stands at pixel (x, y) in these colours; None if none does."""
        pixels = self._codes[y : y + CELL_HEIGHT, x : x + _TITLE * CELL_WIDTH]
        drawn, ground = pixels == colours[0], pixels == colours[1]
        known = drawn | ground
        if known.mean() < _KNOWN:
            return None
        right = ((_STAMPS == drawn) & known).sum((1, 2)) / known.sum()
        best = int(right.argmax())
        return _NAMES[best] if right[best] >= _AGREE else None

    def bar(self, title: str) -> TitleBar | None:
        """Returns the title bar of a window in sight, the active one first."""
        bars = [bar for bar in self.bars if bar.title == title]
        return max(bars, key=lambda bar: bar.active, default=None)

    def text(self, left: int, top: int, width: int, height: int) -> list[str]:
        """Returns the lines of text in a rectangle in pixels; character 127 stands for what is none."""
        rows = range(max(top, 0) // BIN, min((top + height) // BIN, self._chars.shape[0]), CELL_HEIGHT // BIN)
        columns = slice(max(left, 0) // BIN, min((left + width) // BIN, self._chars.shape[1]), CELL_WIDTH // BIN)
        return [self._chars[row, columns].tobytes().decode("ascii").rstrip() for row in rows]
