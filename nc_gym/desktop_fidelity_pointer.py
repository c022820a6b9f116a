"""Where a screen shows the pointer: the place, anywhere on the screen, at which the pointer's image fits best."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import conv2d, pad

from nc_gym.machines.pointer import Sprite

OUTSIDE = 0.1  # squared error of a pixel of the image that lies outside the screen, of at most 1
SAME = 1e-4  # mean squared errors that differ by less fit equally well: less than one wrong pixel of the image
_AT_ONCE = 16  # screens


def misfits(screens: NDArray[np.uint8], sprite: Sprite) -> torch.Tensor:
    """Returns how badly the pointer's image fits at every place.

    Args:
        screens: uint8 (M, H, W, 3).
        sprite: the image.

    Returns:
        Mean squared error over the image's opaque pixels and colours (values in [0, 1]) if it points at pixel (x, y),
        float32 (M, H, W) at [y, x].
    """
    height, width = screens.shape[1:3]
    h, w = sprite.pixels.shape[:2]
    x, y = sprite.hot
    border = (x, w - 1 - x, y, h - 1 - y)  # so that any pixel of the screen may be pointed at
    image = torch.from_numpy(sprite.pixels.astype(np.float32) / 255)
    opaque = (image[..., 3] == 1).float()
    colors = image[..., :3].permute(2, 0, 1) * opaque
    inside = pad(torch.ones(1, 1, height, width), border)
    constant = conv2d(inside, colors.square().sum(0)[None, None])
    constant += 3 * OUTSIDE * conv2d(1 - inside, opaque[None, None])
    pixels = torch.from_numpy(screens).permute(0, 3, 1, 2).float() / 255
    shown = pad(torch.cat([pixels, pixels.square().sum(1, keepdim=True)], 1), border)
    varying = conv2d(shown, torch.cat([-2 * colors, opaque[None]])[None])
    return (varying + constant)[:, 0] / (3 * opaque.sum())


def pointer_errors(screens: NDArray[np.uint8], sprite: Sprite, places: NDArray[np.int64]) -> NDArray[np.float64]:
    """Returns how far from its true place the pointer is shown.

    Args:
        screens: uint8 (M, H, W, 3).
        sprite: the pointer's true image.
        places: x and y of the true places, int64 (M, 2).

    Returns:
        Distance in pixels from the place where the image fits best, float64 (M,). Of places where it fits equally well
        the nearest counts.
    """
    errors = np.zeros(len(screens))
    rows, columns = np.indices(screens.shape[1:3])
    searched = np.flatnonzero(~_perfect(screens, sprite, places))  # elsewhere nothing can fit better and be nearer
    for start in range(0, len(searched), _AT_ONCE):
        chosen = searched[start : start + _AT_ONCE]
        found = misfits(screens[chosen], sprite).numpy()
        best = found <= found.min((1, 2), keepdims=True) + SAME
        x, y = places[chosen].T[..., None, None]
        errors[chosen] = np.where(best, np.hypot(columns - x, rows - y), np.inf).min((1, 2))
    return errors


def _perfect(screens: NDArray[np.uint8], sprite: Sprite, places: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tells on which screens the whole image is at its true place, every pixel right, bool (M,)."""
    rows, columns = np.nonzero(sprite.pixels[..., 3] == 255)
    y, x = places[:, 1:] - sprite.hot[1] + rows, places[:, :1] - sprite.hot[0] + columns
    height, width = screens.shape[1:3]
    inside = ((y >= 0) & (y < height) & (x >= 0) & (x < width)).all(1)
    shown = screens[np.arange(len(screens))[:, None], y.clip(0, height - 1), x.clip(0, width - 1)]
    return inside & (shown == sprite.pixels[rows, columns, :3]).all((1, 2))
