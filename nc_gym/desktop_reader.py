"""The desktop's screen reader: pixels -> characters at every point of the 4-pixel grid, for neural and real screens.

Everything on the desktop lies on a grid of 4 pixels (docs/desktop.md), so a character of 8x16 pixels can begin at any
of 80x60 points. A point has a character if the 8x16 pixels to its lower right show exactly that glyph in two colours,
whichever; what the pointer covers is no glyph. Pixels count as the nearest colour whose channels are 0, 85, 170 or 255,
as all colours of the desktop are. Only points near pixels that changed are read again.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nc_gym.desktop_view import DesktopView, colour_codes
from nc_gym.machines.desktop_events import BIN
from nc_gym.machines.font import CELL_HEIGHT, CELL_WIDTH, FIRST_CHAR, GLYPHS
from nc_gym.reader import exact_templates

BLANK, UNKNOWN = 32, 127
_TALL, _WIDE = CELL_HEIGHT // BIN, CELL_WIDTH // BIN  # grid points that a glyph spans
_BATCH = 8192  # cells read at once


class DesktopReader:
    """Reads N screens at once, and of each only what changed since it was last read.

    Args:
        num_rows: N.
        screen_shape: (H, W, 3) of a screen, whole cells of 4x4 pixels.
    """

    def __init__(self, num_rows: int, screen_shape: tuple[int, int, int]) -> None:
        self.rows, self.columns = screen_shape[0] // BIN, screen_shape[1] // BIN
        self._num_rows = num_rows
        self._screens = np.zeros((num_rows, *screen_shape), np.uint8)
        self._codes = np.zeros((num_rows, *screen_shape[:2]), np.uint8)  # colours of the pixels
        self._chars = np.full((num_rows, self.rows, self.columns), BLANK, np.uint8)  # UNKNOWN where no glyph fits
        self._views: list[DesktopView | None] = [None] * num_rows

    def read(self, screens: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Reads every screen.

        Args:
            screens: uint8 (N, H, W, 3). The reader keeps this array to compare the next one with; do not change it.

        Returns:
            The character that begins at each point of the grid, uint8 (N, H / 4, W / 4), a space where none does; and
            int64 (N, 2) of -1: the screen shows no cursor.
        """
        screens = np.ascontiguousarray(screens)
        changed = self._changed(screens)
        n, r, c = changed.nonzero()
        self._blocks(self._codes)[n, r, :, c] = colour_codes(self._blocks(screens)[n, r, :, c])
        n, r, c = self._stale(changed).nonzero()
        windows = np.lib.stride_tricks.sliding_window_view(self._codes, (CELL_HEIGHT, CELL_WIDTH), axis=(1, 2))
        for start in range(0, len(n), _BATCH):
            some = slice(start, start + _BATCH)
            self._chars[n[some], r[some], c[some]] = _glyphs(windows[n[some], r[some] * BIN, c[some] * BIN])
        for row in np.unique(n):
            self._views[row] = None
        self._screens = screens
        shown = np.where(self._chars == UNKNOWN, BLANK, self._chars).astype(np.uint8)
        return shown, np.full((self._num_rows, 2), -1, np.int64)

    def view(self, row: int) -> DesktopView:
        """Returns what the windows of a row show."""
        view = self._views[row]
        if view is None:
            view = self._views[row] = DesktopView(self._codes[row].copy(), self._chars[row].copy())
        return view

    def _blocks(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns a view of pixels (N, H, W, ...) as blocks (N, H / 4, 4, W / 4, 4, ...)."""
        return pixels.reshape(self._num_rows, self.rows, BIN, self.columns, BIN, *pixels.shape[3:])

    def _changed(self, screens: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Tells which blocks of 4x4 pixels differ from the screens read before, bool (N, H / 4, W / 4)."""
        shape = (self._num_rows, self.rows, BIN, self.columns, 3)  # four pixels are three words
        old, new = (x.reshape(-1).view(np.uint32).reshape(shape) for x in (self._screens, screens))
        return (old != new).any(2).any(3)

    def _stale(self, changed: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Tells at which points a glyph would lie on changed blocks, bool (N, H / 4, W / 4)."""
        stale = np.zeros_like(changed)
        for down in range(_TALL):
            for right in range(_WIDE):
                stale[:, : self.rows - down, : self.columns - right] |= changed[:, down:, right:]
        stale[:, self.rows - _TALL + 1 :] = stale[:, :, self.columns - _WIDE + 1 :] = False  # no glyph fits there
        return stale


def _glyphs(cells: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns the characters that cells of colours (M, 16, 8) show, uint8 (M,): a space where all is one colour.

    What is neither is ``UNKNOWN``.
    """
    flat = cells.reshape(len(cells), -1)
    drawn = flat != flat[:, :1]
    second = flat[np.arange(len(flat)), drawn.argmax(1)]
    blank = ~drawn.any(1)
    index = exact_templates(drawn)  # whichever colour comes first: the templates hold glyphs and their inverses
    found = (index >= 0) & ((flat == second[:, None]) | ~drawn).all(1)
    return np.where(blank, BLANK, np.where(found, index % len(GLYPHS) + FIRST_CHAR, UNKNOWN)).astype(np.uint8)
