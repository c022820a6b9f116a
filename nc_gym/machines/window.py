"""What a window manager knows about a window: the desktop's true state, for audits and for synthetic users."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """A window that the window manager lists.

    Attributes:
        title: its title.
        x, y, width, height: place of its content on the screen, without the frame, in pixels.
        minimized: whether it is only in the task list.
        active: whether it has the keyboard.
        task: its place in the task list, from 0.
        normal: x, y, width, height to which it returns when it is no longer maximised: those it had when it was last
            listed and not maximised. None in recordings made before windows were asked for it.
    """

    title: str
    x: int
    y: int
    width: int
    height: int
    minimized: bool
    active: bool
    task: int
    normal: tuple[int, int, int, int] | None = None
