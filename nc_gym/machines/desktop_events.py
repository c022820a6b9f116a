"""The desktop's event vocabulary: pointer bins, button events and keys, and the X strokes that an event is made of.

An event is four integers (pointer column, pointer row, button event, key). The pointer goes to its bin of 4x4 pixels
first, then the button event happens, then the key. Event (column, row, 0, 0) only moves, or is idle where the pointer
already is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nc_gym.machines.keys import KEYS as TERMINAL_KEYS

WIDTH = 320
HEIGHT = 240
BIN = 4
COLUMNS = WIDTH // BIN
ROWS = HEIGHT // BIN
BUTTONS: tuple[str, ...] = (
    "none", "left press", "left release", "left click", "double click", "right click", "wheel up", "wheel down",
)  # fmt: skip
KEYS: tuple[str, ...] = (*TERMINAL_KEYS, "Home", "End", "Alt-F4", "Alt-Tab")
SIZES = (COLUMNS, ROWS, len(BUTTONS), len(KEYS))
"""How many values each of an event's four integers has."""
BUTTON_INDEX: dict[str, int] = {name: i for i, name in enumerate(BUTTONS)}
KEY_INDEX: dict[str, int] = {name: i for i, name in enumerate(KEYS)}

MOVE, BUTTON_PRESS, BUTTON_RELEASE, KEY_PRESS, KEY_RELEASE = 6, 4, 5, 2, 3  # X event types
PAUSE = 0
Event = tuple[int, int, int, int]
"""Pointer column, pointer row, button event, key."""
Stroke = tuple[tuple[int, int, int], ...]
"""X events sent at once: (type, button number or keysym, 0), (``MOVE``, x, y), or (``PAUSE``, milliseconds, 0) between.

The screen settles after each stroke.
"""

_KEYSYMS = {
    "Enter": 0xFF0D, "Backspace": 0xFF08, "Tab": 0xFF09, "Up": 0xFF52, "Down": 0xFF54, "Left": 0xFF51, "Right": 0xFF53,
    "Home": 0xFF50, "End": 0xFF57, "F4": 0xFFC1, "Alt": 0xFFE9, "Ctrl": 0xFFE3,
}  # fmt: skip
SHIFT = 0xFFE1
_LEFT_PRESS: Stroke = ((BUTTON_PRESS, 1, 0),)
_LEFT_RELEASE: Stroke = ((BUTTON_RELEASE, 1, 0),)
_BUTTON_STROKES: tuple[tuple[Stroke, ...], ...] = (
    (),
    (_LEFT_PRESS,),
    (_LEFT_RELEASE,),
    (_LEFT_PRESS, _LEFT_RELEASE),
    ((*_LEFT_PRESS, *_LEFT_RELEASE, (PAUSE, 20, 0), *_LEFT_PRESS, *_LEFT_RELEASE),),  # timed by the server itself
    (((BUTTON_PRESS, 3, 0),), ((BUTTON_RELEASE, 3, 0),)),
    (((BUTTON_PRESS, 4, 0), (BUTTON_RELEASE, 4, 0)),),
    (((BUTTON_PRESS, 5, 0), (BUTTON_RELEASE, 5, 0)),),
)


def _key_strokes(name: str) -> tuple[Stroke, ...]:
    """Returns the strokes of a key. Alt keeps the key apart: a window manager acts on the press and on the release."""
    if name == "noop":
        return ()
    modifier, _, key = name.rpartition("-") if len(name) > 1 else ("", "", name)
    keysym = ord(key.lower()) if modifier and len(key) == 1 else _KEYSYMS.get(key) or ord(key)
    press: Stroke = ((KEY_PRESS, keysym, 0), (KEY_RELEASE, keysym, 0))
    if not modifier:
        return (press,)
    held = _KEYSYMS[modifier]
    if modifier == "Alt":
        return (((KEY_PRESS, held, 0),), press, ((KEY_RELEASE, held, 0),))
    return (((KEY_PRESS, held, 0), *press, (KEY_RELEASE, held, 0)),)


_KEY_STROKES = tuple(_key_strokes(name) for name in KEYS)


def position(column: int, row: int) -> tuple[int, int]:
    """Returns the pixel (x, y) of a pointer bin, its lower left one: menus that open there keep to the grid of 4."""
    return column * BIN, row * BIN + BIN - 1


def strokes(event: Event, pointer: tuple[int, int]) -> tuple[Stroke, ...]:
    """Returns the strokes of an event, given where the pointer is; one empty stroke if it is idle."""
    place = position(event[0], event[1])
    move: tuple[Stroke, ...] = () if place == pointer else (((MOVE, *place),),)
    return move + _BUTTON_STROKES[event[2]] + _KEY_STROKES[event[3]] or ((),)


def check(events: NDArray[np.int64], rows: NDArray[np.bool_]) -> None:
    """Raises a ValueError if an event (N, 4) of the chosen rows (N,) is none."""
    if events.shape != (len(rows), 4):
        raise ValueError(f"events have shape {events.shape}; expected ({len(rows)}, 4): column, row, button, key")
    for row in np.flatnonzero(rows):
        for value, size, name in zip(
            events[row], SIZES, ("pointer column", "pointer row", "button", "key"), strict=True
        ):
            if not 0 <= value < size:
                raise ValueError(f"{name} {value} in row {row} is out of range; expected 0 to {size - 1}")


def event(x: int, y: int, button: str = "none", key: str = "noop") -> Event:
    """Returns the event that points at pixel (x, y), with a button event and a key by name.

    Raises:
        ValueError: the pixel is outside the screen, or a name is unknown.
    """
    if not (0 <= x < WIDTH and 0 <= y < HEIGHT):
        raise ValueError(f"pointer ({x}, {y}) is outside the screen; expected 0 to {WIDTH - 1} and 0 to {HEIGHT - 1}")
    if button not in BUTTON_INDEX:
        raise ValueError(f"unknown button event {button!r}; choose one of {', '.join(BUTTONS)}")
    if key not in KEY_INDEX:
        raise ValueError(f"unknown key {key!r}; choose printable ASCII or one of {', '.join(k for k in KEYS if k[1:])}")
    return x // BIN, y // BIN, BUTTON_INDEX[button], KEY_INDEX[key]
