"""What people and policies see around a screen: the banner line, the rendered frame and plain text."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nc_gym.machines import font

BANNER_HEIGHT = font.CELL_HEIGHT
SCALE = 2  # a rendered frame is magnified by this factor, without smoothing
_NORMAL = font.PALETTE[[font.BACKGROUND, font.FOREGROUND]]
_STATUS = font.PALETTE[[4, 15]]  # white on blue, so that nobody takes the status line for a part of the screen


def text_chars(text: str, columns: int) -> NDArray[np.uint8]:
    """Returns ``text`` as character codes, padded with spaces, uint8 (columns,); what has no glyph becomes a ``?``."""
    codes = np.frombuffer(text.ljust(columns)[:columns].encode("ascii", "replace"), np.uint8)
    return np.where(codes < font.FIRST_CHAR, np.uint8(ord("?")), codes)


def draw_line(chars: NDArray[np.uint8], colors: NDArray[np.uint8] = _NORMAL) -> NDArray[np.uint8]:
    """Draws one line of text.

    Args:
        chars: character codes, uint8 (columns,).
        colors: background and foreground, uint8 (2, 3); by default those of the terminal.

    Returns:
        uint8 (16, columns * 8, 3).
    """
    bits = font.GLYPHS[chars - font.FIRST_CHAR]  # (columns, 16, 8)
    return colors[bits.transpose(1, 0, 2).reshape(font.CELL_HEIGHT, -1).astype(np.intp)]


def draw_frame(banner: NDArray[np.uint8], screen: NDArray[np.uint8], status: str) -> NDArray[np.uint8]:
    """Draws banner, screen and status line, magnified.

    Args:
        banner: uint8 (16, W, 3).
        screen: uint8 (H, W, 3).
        status: text below the screen; what does not fit is cut.

    Returns:
        uint8 ((H + 32) * SCALE, W * SCALE, 3).
    """
    line = draw_line(text_chars(status, screen.shape[1] // font.CELL_WIDTH), _STATUS)
    frame = np.concatenate([banner, screen, line])
    return frame.repeat(SCALE, axis=0).repeat(SCALE, axis=1)


def as_text(banner: NDArray[np.uint8], chars: NDArray[np.uint8]) -> str:
    """Returns the banner (columns,) and the screen's characters (rows, columns) as lines of text."""
    lines = [banner, *chars]
    return "\n".join(line.tobytes().replace(b"\x7f", b"?").decode("ascii").rstrip() for line in lines)
