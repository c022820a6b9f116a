"""The screen reader: terminal pixels -> characters and cursor, the same code for neural and real screens.

Each 8x16 cell is reduced to which of its pixels are the brighter of its two colours (128 bits), so colours do not
matter, and looked up among the font's glyphs and their inverses. A cell that is no glyph (a neural screen may show one)
gets the glyph that differs in the fewest pixels. The cursor is the inverse cell; coloured backgrounds, as of some names
in ``ls``, are inverse too, and stand before the prompt, so the last inverse cell in reading order is taken.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nc_gym.machines.font import CELL_HEIGHT, CELL_WIDTH, FIRST_CHAR, GLYPHS
from nc_gym.predicates import TextView, text_view

FLAT = 12  # a cell whose brightest and darkest pixels differ by less shows one colour only
LIGHT = 64  # a cell of one colour is an inverse blank if it is brighter than this

_CELL_WORDS = CELL_WIDTH * 3 // 8  # 64-bit words in one pixel row of a cell
_MIX = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F], np.uint64)


def _pack(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Packs bits (M, 128) into two words, uint64 (M, 2)."""
    return np.packbits(bits, axis=1).view(np.uint64)


def _hash(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mixed = words * _MIX
    return mixed[:, 0] ^ (mixed[:, 1] >> np.uint64(7))


_TEMPLATES = np.concatenate([GLYPHS, ~GLYPHS]).reshape(-1, CELL_HEIGHT * CELL_WIDTH)  # glyphs, then their inverses
_ORDER = np.argsort(_hash(_pack(_TEMPLATES)))
_SORTED_WORDS = _pack(_TEMPLATES)[_ORDER]
_SORTED_HASHES = _hash(_SORTED_WORDS)
_SIGNS = _TEMPLATES.astype(np.float32) * 2 - 1  # bits as -1 and 1: the largest product is the nearest template


def brighter_pixels(cells: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Tells which pixels of each cell have the brighter of its two colours.

    Args:
        cells: uint8 (M, 16, 8, 3).

    Returns:
        bool (M, 128), all false in a dark cell of one colour and all true in a light one.
    """
    light = cells.reshape(len(cells), -1, 3) @ np.array([0.299, 0.587, 0.114], np.float32)
    low, high = light.min(1), light.max(1)
    threshold = np.where(high - low < FLAT, LIGHT, (low + high) / 2)
    return light > threshold[:, None]


def exact_templates(bits: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Returns the index (M,) of the template that equals each row of ``bits`` (M, 128), -1 where none does."""
    words = _pack(bits)
    found = np.searchsorted(_SORTED_HASHES, _hash(words)).clip(max=len(_ORDER) - 1)
    return np.where((_SORTED_WORDS[found] != words).any(1), -1, _ORDER[found])


def match_templates(bits: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Returns the index (M,) of the template nearest to each row of ``bits`` (M, 128), by Hamming distance."""
    index = exact_templates(bits)
    other = index < 0
    if other.any():
        index[other] = ((bits[other].astype(np.float32) * 2 - 1) @ _SIGNS.T).argmax(1)
    return index


class Reader:
    """Reads N screens at once, and of each only the cells whose pixels changed since it was last read.

    Args:
        num_rows: N.
        screen_shape: (H, W, 3) of a screen, whole cells of 16x8 pixels.
    """

    def __init__(self, num_rows: int, screen_shape: tuple[int, int, int]) -> None:
        self.rows, self.columns = screen_shape[0] // CELL_HEIGHT, screen_shape[1] // CELL_WIDTH
        self._num_rows = num_rows
        self._screens = np.zeros((num_rows, *screen_shape), np.uint8)
        self._chars = np.full((num_rows, self.rows, self.columns), ord(" "), np.uint8)
        self._inverse = np.zeros((num_rows, self.rows, self.columns), np.bool_)
        self._cursors = np.full((num_rows, 2), -1, np.int64)

    def read(self, screens: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Reads every screen.

        Args:
            screens: uint8 (N, H, W, 3). The reader keeps this array to compare the next one with; do not change it.

        Returns:
            Character codes, uint8 (N, rows, columns), 127 for the font's replacement box; and row and column of the
            cursor, int64 (N, 2), (-1, -1) where the screen shows none. Both are copies.
        """
        screens = np.ascontiguousarray(screens)
        n, y, x = self._changed(screens).nonzero()
        if len(n):
            cells = screens.reshape(self._num_rows, self.rows, CELL_HEIGHT, self.columns, CELL_WIDTH, 3)
            index = match_templates(brighter_pixels(cells[n, y, :, x]))
            self._chars[n, y, x] = index % len(GLYPHS) + FIRST_CHAR
            self._inverse[n, y, x] = index >= len(GLYPHS)
            self._find_cursors(np.unique(n))
        self._screens = screens
        return self._chars.copy(), self._cursors.copy()

    def view(self, row: int) -> TextView | None:
        """Returns the lines of a row, or None if its screen shows no cursor."""
        return text_view(self._chars[row], self._cursors[row])

    def _changed(self, screens: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Tells which cells differ from the screens read before, bool (N, rows, columns)."""
        shape = (self._num_rows, self.rows, CELL_HEIGHT, self.columns * _CELL_WORDS)
        old, new = (x.reshape(-1).view(np.uint64).reshape(shape) for x in (self._screens, screens))
        differs = (old != new).any(2)  # over the pixel rows of a cell, then over its words: faster than both at once
        return differs.reshape(self._num_rows, self.rows, self.columns, _CELL_WORDS).any(3)

    def _find_cursors(self, changed: NDArray[np.intp]) -> None:
        """Looks for the last inverse cell of each of the screens numbered ``changed`` (M,)."""
        flat = self._inverse[changed].reshape(len(changed), -1)
        last = flat.shape[1] - 1 - flat[:, ::-1].argmax(1)
        self._cursors[changed] = np.stack([last // self.columns, last % self.columns], 1)
        self._cursors[changed[~flat.any(1)]] = -1


def read_screens(screens: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Reads screens uint8 (N, H, W, 3) once; see :meth:`Reader.read`."""
    return Reader(len(screens), screens.shape[1:]).read(screens)
