"""The hand of a desktop user: points, clicks, drags and types with small human detours, and notes what it did."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

from nc_gym.machines.desktop_events import HEIGHT, WIDTH, Event, event


class Act(NamedTuple):
    """One event and what the user means by it."""

    event: Event
    purpose: str


class Hand:
    """A hand on the mouse and the keyboard; places are pixels of the screen.

    Args:
        rng: the session's random stream.

    Attributes:
        at: where the pointer is.
    """

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.at = (WIDTH // 2, HEIGHT // 2)
        self._acts: list[Act] = []

    def taken(self) -> list[Act]:
        """Returns what was done since this was called last."""
        acts, self._acts = self._acts, []
        return acts

    def do(self, x: int, y: int, button: str = "none", key: str = "noop", purpose: str = "point") -> None:
        """Does one event at pixel (x, y), or at the screen's edge if that lies outside."""
        self.at = (min(max(x, 0), WIDTH - 1), min(max(y, 0), HEIGHT - 1))
        self._acts.append(Act(event(*self.at, button, key), purpose))

    def go(self, x: int, y: int) -> None:
        """Moves towards pixel (x, y), with some stops on the way; the event that follows arrives there."""
        start, count = self.at, self._rng.choice((0, 0, 0, 1, 1, 2, 3))
        for stop in range(1, count + 1):
            share = stop / (count + 1)
            on_x = round(start[0] + (x - start[0]) * share) + self._rng.randint(-6, 6)
            on_y = round(start[1] + (y - start[1]) * share) + self._rng.randint(-6, 6)
            self.do(on_x, on_y)

    def click(self, x: int, y: int, purpose: str, button: str = "left click") -> None:
        """Moves to pixel (x, y) and clicks there."""
        self.go(x, y)
        self.do(x, y, button, purpose=purpose)

    def press(self, key: str, purpose: str) -> None:
        """Presses a key where the pointer is."""
        self.do(*self.at, key=key, purpose=purpose)

    def type(self, text: str, purpose: str) -> None:
        """Types ``text``; now and then a wrong letter comes out and is taken back."""
        for char in text:
            if self._rng.random() < 0.02:
                self.press(self._rng.choice("abcdefghijklmnopqrstuvwxyz"), purpose)
                self.press("Backspace", purpose)
            self.press("Enter" if char == "\n" else char, purpose)

    def drag(self, x: int, y: int, to: tuple[int, int], purpose: str) -> None:
        """Moves to pixel (x, y), presses there, goes on in a few steps and releases at ``to``."""
        self.go(x, y)
        self.do(x, y, "left press", purpose=purpose)
        count = self._rng.randint(1, 4)
        for step in range(1, count + 1):
            share = step / count
            self.do(round(x + (to[0] - x) * share), round(y + (to[1] - y) * share), purpose=purpose)
        self.do(*to, "left release", purpose=purpose)
