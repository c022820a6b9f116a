"""The frame that compares two machines: neural and real side by side under the same events, differing cells boxed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nc_gym.frames import draw_line, text_chars
from nc_gym.machines.font import CELL_HEIGHT, CELL_WIDTH
from nc_gym.video import Frame, enlarge

VISIBLE = 32  # a cell differs when any of its 8-bit channels is off by more than this
RED = np.array([224, 48, 48], dtype=np.uint8)
TITLE_COLORS = np.array([[32, 32, 32], [255, 255, 255]], dtype=np.uint8)
GAP = 16  # pixels between the two panels


def differing_cells(left: Frame, right: Frame) -> NDArray[np.bool_]:
    """Returns bool (H/16, W/8): which character cells of two frames (H, W, 3) differ visibly."""
    off = np.abs(left.astype(np.int16) - right.astype(np.int16)) > VISIBLE
    height, width, _ = off.shape
    cells = off.reshape(height // CELL_HEIGHT, CELL_HEIGHT, width // CELL_WIDTH, CELL_WIDTH, 3)
    return np.asarray(cells.any(axis=(1, 3, 4)))


def mark(frame: Frame, cells: NDArray[np.bool_], scale: int) -> Frame:
    """Returns the frame enlarged by ``scale``; each cell where ``cells`` is true gets a red box."""
    frame = enlarge(frame, scale)
    for row, column in np.argwhere(cells):
        top, left = row * CELL_HEIGHT * scale, column * CELL_WIDTH * scale
        box = frame[top : top + CELL_HEIGHT * scale, left : left + CELL_WIDTH * scale]
        box[[*range(scale), *range(-scale, 0)]] = box[:, [*range(scale), *range(-scale, 0)]] = RED
    return frame


def side_by_side(neural: Frame, real: Frame, header: str, scale: int = 2) -> Frame:
    """Returns one frame: a header line, then the neural screen and the real one with differing cells boxed in red.

    Args:
        neural: uint8 (H, W, 3), H a multiple of 16, W of 8.
        real: the same shape.
        header: one line of printable ASCII, cut to the frame's width.
        scale: enlargement; write the result with ``VideoWriter(..., scale=1)``.
    """
    if neural.shape != real.shape:
        raise ValueError(f"the neural frame is {neural.shape}, the real one {real.shape}; record both at one size")
    cells = differing_cells(neural, real)
    width = neural.shape[1] * scale
    gap = np.full((neural.shape[0] * scale, GAP, 3), TITLE_COLORS[0], dtype=np.uint8)
    screens = np.concatenate([mark(neural, cells, scale), gap, mark(real, cells, scale)], axis=1)
    differ = f"{int(cells.sum())} of {cells.size} cells differ"
    titles = [text_line(text, width, scale) for text in (f"neural network: {differ}", "real computer")]
    title = np.concatenate([titles[0], gap[: CELL_HEIGHT * scale], titles[1]], axis=1)
    return np.concatenate([text_line(header, screens.shape[1], scale), title, screens], axis=0)


def text_line(text: str, width: int, scale: int) -> Frame:
    """Returns uint8 (16·scale, width, 3): ``text`` in white on dark grey, cut to ``width`` pixels."""
    line = np.full((CELL_HEIGHT * scale, width, 3), TITLE_COLORS[0], dtype=np.uint8)
    drawn = enlarge(draw_line(text_chars(text, width // (CELL_WIDTH * scale)), TITLE_COLORS), scale)
    line[:, : drawn.shape[1]] = drawn
    return line


@dataclass
class Agreement:
    """How far two machines agreed over the screens of one run.

    Attributes:
        characters: per screen, the share of equal characters among the cells that are non-blank on either machine.
        exact: per screen, whether no cell differs visibly.
    """

    characters: list[float] = field(default_factory=list)
    exact: list[bool] = field(default_factory=list)

    def add(self, left: Frame, right: Frame, left_chars: NDArray[np.uint8], right_chars: NDArray[np.uint8]) -> None:
        """Adds one screen: frames (H, W, 3) and character codes (rows, columns) of both machines."""
        self.characters.append(character_accuracy(left_chars, right_chars))
        self.exact.append(not differing_cells(left, right).any())

    @property
    def mean_characters(self) -> float:
        """Mean character accuracy over the screens."""
        return float(np.mean(self.characters))

    @property
    def share_exact(self) -> float:
        """Share of screens without a visible difference."""
        return float(np.mean(self.exact))


def character_accuracy(left: NDArray[np.uint8], right: NDArray[np.uint8]) -> float:
    """Returns the share of equal characters among cells that are non-blank in either grid; 1.0 if there are none."""
    shown = (left != ord(" ")) | (right != ord(" "))
    return float((left == right)[shown].mean()) if shown.any() else 1.0
