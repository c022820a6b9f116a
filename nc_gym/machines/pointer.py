"""The pointer's image, and how it comes onto the screen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Sprite:
    """The image of a pointer.

    Attributes:
        pixels: red, green, blue (each already times opacity) and opacity, uint8 (h, w, 4).
        hot: x and y of the pixel of the image that points.
    """

    pixels: NDArray[np.uint8]
    hot: tuple[int, int]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sprite) and self.hot == other.hot and np.array_equal(self.pixels, other.pixels)


def composite(screen: NDArray[np.uint8], sprite: Sprite, x: int, y: int) -> None:
    """Draws ``sprite`` into ``screen`` (H, W, 3) so that it points at pixel (x, y); what sticks out is cut off."""
    left, top = x - sprite.hot[0], y - sprite.hot[1]
    height, width = sprite.pixels.shape[:2]
    rows = slice(max(top, 0), max(min(top + height, screen.shape[0]), 0))
    columns = slice(max(left, 0), max(min(left + width, screen.shape[1]), 0))
    image = sprite.pixels[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    through = 255 - image[:, :, 3:].astype(np.uint16)
    under = screen[rows, columns]
    screen[rows, columns] = image[:, :, :3] + ((under * through + 127) // 255).astype(np.uint8)
