"""The terminal's bitmap font and colours: cells to pixels.

The glyphs are Spleen 8x16 (``spleen_8x16.hex``, licence in ``spleen_8x16.LICENSE``, made by ``make_font.py``).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CELL_HEIGHT = 16
CELL_WIDTH = 8
FIRST_CHAR = 32
Color = tuple[int, int, int]

PALETTE: NDArray[np.uint8] = np.array(
    [
        (0, 0, 0), (170, 0, 0), (0, 170, 0), (170, 85, 0), (0, 0, 170), (170, 0, 170), (0, 170, 170), (170, 170, 170),
        (85, 85, 85), (255, 85, 85), (85, 255, 85), (255, 255, 85), (85, 85, 255), (255, 85, 255), (85, 255, 255),
        (255, 255, 255),
    ],
    dtype=np.uint8,
)  # fmt: skip
"""The 16 ANSI colours, uint8 (16, 3): black red green brown blue magenta cyan white, then their bright versions."""
FOREGROUND = 7
BACKGROUND = 0
COLOR_NAMES = ("black", "red", "green", "brown", "blue", "magenta", "cyan", "white")


def _load() -> NDArray[np.bool_]:
    text = Path(__file__).with_name("spleen_8x16.hex").read_text(encoding="ascii")
    rows = [bytes.fromhex(line.split(":")[1]) for line in text.splitlines()]
    box = bytes([0, 0, 0x7E, *[0x42] * 11, 0x7E, 0])
    table = np.frombuffer(b"".join([*rows, box]), dtype=np.uint8).reshape(-1, CELL_HEIGHT, 1)
    return np.unpackbits(table, axis=2).astype(np.bool_)


GLYPHS: NDArray[np.bool_] = _load()
"""Glyph bitmaps, bool (96, 16, 8): printable ASCII from space on, then the box that stands for any other character."""
REPLACEMENT = len(GLYPHS) - 1


def glyph_index(char: str) -> int:
    """Returns the index in ``GLYPHS`` of a character; anything but printable ASCII gets the replacement box."""
    index = ord(char) - FIRST_CHAR if len(char) == 1 else -1
    return index if 0 <= index < REPLACEMENT else REPLACEMENT


def draw(glyph: int, foreground: Color, background: Color) -> NDArray[np.uint8]:
    """Draws one cell: returns uint8 (16, 8, 3)."""
    colors = np.array([background, foreground], dtype=np.uint8)
    return colors[GLYPHS[glyph].astype(np.intp)]


def color(name: str, bold: bool, default: int) -> Color:
    """Returns the RGB of a colour as pyte names it: "default", an ANSI name, "bright" + name, or "rrggbb".

    Args:
        name: the colour's name.
        bold: draw the eight dark colours bright.
        default: palette index of "default".
    """
    index = -1
    if name == "default":
        index = default
    elif name in COLOR_NAMES:
        index = COLOR_NAMES.index(name)
    elif name.startswith("bright"):
        base = name[len("bright") :].replace("yellow", "brown")
        index = COLOR_NAMES.index(base) + 8 if base in COLOR_NAMES else default
    if index < 0:
        return int(name[0:2], 16), int(name[2:4], 16), int(name[4:6], 16)
    if bold and index < 8:
        index += 8
    red, green, blue = (int(v) for v in PALETTE[index])
    return red, green, blue
