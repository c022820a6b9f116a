"""The protocol that every machine speaks, real or neural: N computers, one event each, settled screens out."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Machine(Protocol):
    """N computers (rows) stepped together. A step never resets; ``reset`` boots the rows it is given.

    Attributes:
        num_rows: N.
        screen_shape: (H, W, 3) of one screen in pixels.
    """

    num_rows: int
    screen_shape: tuple[int, int, int]

    def reset(self, rows: NDArray[np.bool_], seeds: NDArray[np.int64], boots: NDArray[np.int64]) -> None:
        """Boots the rows where ``rows`` (N,) is true.

        Args:
            rows: which rows boot, shape (N,).
            seeds: the noise stream of each row, shape (N,); only entries of booted rows are read.
            boots: index of each row's boot in the machine's boot list, shape (N,).
        """

    def step(self, events: NDArray[np.int64], rows: NDArray[np.bool_]) -> None:
        """Sends one event to each row where ``rows`` (N,) is true and waits for its settled screen."""

    def screens(self) -> NDArray[np.uint8]:
        """Returns a fresh copy of all screens, uint8 (N, H, W, 3)."""

    def close(self) -> None:
        """Releases every process and buffer; safe to call twice."""
