"""Inputs: what can be sent to each machine, and how names of keys, buttons and places become events.

A terminal's event is a number, the index of a key. A desktop's event is four numbers: pointer column, pointer row,
button event and key (``nc_gym.machines.desktop_events``). Where an event needs to know where the pointer is, it is made
``after`` the event before it: typing leaves the pointer in its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from nc_gym.machines import desktop_events
from nc_gym.machines import keys as keyboard

Event = int | tuple[int, int, int, int]
Place = tuple[int, int]

POINT = "point"  # the button event "none" in scripts
CELL = 16  # pixels: side of the squares that "<left click *>" stands for


class TerminalInputs:
    """A keyboard.

    Attributes:
        preset: the name of the action preset in which an action is an event.
        keys: names of the keys, in their order.
        buttons: names of the button events in scripts.
        space: of events, as actions.
        first: the event that does nothing on a fresh computer.
        sees_cursor: whether the reader finds on the screen where typed text goes.
        places: pixels by name; none.
    """

    preset = "keys"
    keys: tuple[str, ...] = keyboard.KEYS
    buttons: tuple[str, ...] = ()
    space = spaces.Discrete(len(keyboard.KEYS))
    first: Event = keyboard.NOOP
    sees_cursor = True
    places: dict[str, Place] = {}

    def idle(self, after: Event) -> Event:
        """Returns the event that does nothing."""
        return keyboard.NOOP

    def press(self, key: str, after: Event) -> Event:
        """Returns the event that presses a key.

        Raises:
            KeyError: there is no such key.
        """
        return keyboard.KEY_INDEX[key]

    def type(self, text: str, after: Event) -> list[Event]:
        """Returns the events that type ``text``."""
        return list(keyboard.encode(text))

    def point(self, button: str, place: str) -> Event:
        """A terminal has no pointer.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"a terminal has no pointer for <{button} {place}>; use an environment of the desktop")

    def expand(self, word: str) -> list[str]:
        """Returns the words that one word of a card stands for: itself."""
        return [word]

    def square(self, word: str) -> str:
        """Returns the word itself: nothing stands for a place here."""
        return word

    def name(self, event: Event) -> str:
        """Returns what people call an event."""
        assert isinstance(event, int)
        return self.keys[event]

    def cursors(self, last: NDArray[np.int64]) -> NDArray[np.int64]:
        """A keyboard points nowhere: the reader looks for the cursor."""
        return np.full((len(last), 2), -1, np.int64)


class DesktopInputs:
    """Pointer and keyboard.

    Args:
        places: pixels by name, for scripts such as ``"<left click panel Calc>"``.

    Attributes:
        preset, keys, buttons, space, first, sees_cursor, places: see ``TerminalInputs``.
    """

    preset = "pointer"
    keys: tuple[str, ...] = desktop_events.KEYS
    buttons: tuple[str, ...] = (POINT, *desktop_events.BUTTONS[1:])
    space = spaces.MultiDiscrete(list(desktop_events.SIZES))
    first: Event = desktop_events.event(desktop_events.WIDTH // 2, desktop_events.HEIGHT // 2)
    sees_cursor = False

    def __init__(self, places: Mapping[str, Place]) -> None:
        self.places = dict(places)

    def idle(self, after: Event) -> Event:
        """Returns the event that leaves the pointer where it is and does nothing."""
        assert not isinstance(after, int)
        return (after[0], after[1], 0, 0)

    def press(self, key: str, after: Event) -> Event:
        """Returns the event that presses a key and leaves the pointer where it is.

        Raises:
            KeyError: there is no such key.
        """
        assert not isinstance(after, int)
        return (after[0], after[1], 0, desktop_events.KEY_INDEX[key])

    def type(self, text: str, after: Event) -> list[Event]:
        """Returns the events that type ``text`` and leave the pointer where it is."""
        assert not isinstance(after, int)
        return [(after[0], after[1], 0, key) for key in keyboard.encode(text)]

    def place(self, name: str) -> Place:
        """Returns the pixel that a name of the card, or a text such as "120 64", stands for.

        Raises:
            ValueError: it is neither.
        """
        numbers = name.split()
        if name in self.places:
            return self.places[name]
        if len(numbers) == 2 and all(number.isdecimal() for number in numbers):
            return int(numbers[0]), int(numbers[1])
        raise ValueError(f'no place {name!r}; name one of {", ".join(self.places)}, or a pixel such as "120 64"')

    def point(self, button: str, place: str) -> Event:
        """Returns the event that points at a place, with a button event by name.

        Raises:
            ValueError: place or button are unknown, or the place is outside the screen.
        """
        return desktop_events.event(*self.place(place), "none" if button == POINT else button)

    def expand(self, word: str) -> list[str]:
        """Returns the words that one word of a card stands for.

        ``"<left click *>"`` is a click on the middle of each square of 16x16 pixels; any other word is itself.
        """
        if not word.endswith(" *>"):
            return [word]
        middle = CELL // 2
        return [
            word.replace("*", f"{x} {y}")
            for y in range(middle, desktop_events.HEIGHT, CELL)
            for x in range(middle, desktop_events.WIDTH, CELL)
        ]

    def square(self, word: str) -> str:
        """Returns the word that stands for the square around the place of a word such as ``"<left click task 1>"``."""
        button = next((button for button in self.buttons if word.startswith(f"<{button} ")), None)
        if button is None:
            return word
        x, y = self.place(word[len(button) + 2 : -1])
        return f"<{button} {x // CELL * CELL + CELL // 2} {y // CELL * CELL + CELL // 2}>"

    def name(self, event: Event) -> str:
        """Returns what people call an event: its button and key, if it has any, and the pixel."""
        assert not isinstance(event, int)
        button, key = self.buttons[event[2]], self.keys[event[3]]
        x, y = desktop_events.position(event[0], event[1])
        return f"{button} {x},{y}" + (f" {key}" if event[3] else "")

    def cursors(self, last: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns row and column of the pointer after the events ``last`` (N, 4), int64 (N, 2)."""
        return last[:, 1::-1].copy()


Inputs = TerminalInputs | DesktopInputs


def as_array(events: Sequence[Event]) -> NDArray[np.int64]:
    """Returns events as a machine takes them, int64 (N,) or (N, 4)."""
    return np.array(events, np.int64)
