"""How much of the text in xterm one reader finds again on another machine's screens.

The reader is the terminal's (``reader.py``), laid over xterm's window; where that window is, the real desktop says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nc_gym.desktop_fidelity_run import DesktopSessions, Film, Screen
from nc_gym.machines.desktop_events import HEIGHT, KEY_INDEX, KEYS, WIDTH
from nc_gym.machines.font import CELL_HEIGHT, CELL_WIDTH, FIRST_CHAR, GLYPHS
from nc_gym.machines.window import Window
from nc_gym.reader import brighter_pixels, match_templates
from nc_gym.traces.desktop_users import PANEL_TOP

TERMINAL = "Term"
_BLANK = ord(" ")


@dataclass(frozen=True)
class TextScores:
    """Characters counted after each event, int64 (N, T); 0 where the event is no key typed into xterm.

    Attributes:
        typed: characters that a printable key put into xterm's window on the real screen.
        typed_right: those that the reader finds at the same place on the other machine's screen.
        shown: cells of xterm's window that are not blank on either screen, after any key typed into it.
        shown_right: those in which the reader finds the same character on both.
    """

    typed: NDArray[np.int64]
    typed_right: NDArray[np.int64]
    shown: NDArray[np.int64]
    shown_right: NDArray[np.int64]


def read_window(screen: Screen, window: Window) -> NDArray[np.uint8]:
    """Returns the characters in a window's content, uint8 (rows, columns); blank where a cell leaves the screen."""
    rows, columns = window.height // CELL_HEIGHT, window.width // CELL_WIDTH
    chars = np.full((rows, columns), _BLANK, np.uint8)
    y, x = np.nonzero(_on_screen(window))
    if len(y):
        top, left = window.y + CELL_HEIGHT * y, window.x + CELL_WIDTH * x
        cells = screen[
            top[:, None, None] + np.arange(CELL_HEIGHT)[:, None], left[:, None, None] + np.arange(CELL_WIDTH)
        ]
        chars[y, x] = match_templates(brighter_pixels(cells)) % len(GLYPHS) + FIRST_CHAR
    return chars


def _on_screen(window: Window) -> NDArray[np.bool_]:
    """Tells which cells of a window's content lie whole on the screen, above the panel."""
    top = window.y + CELL_HEIGHT * np.arange(window.height // CELL_HEIGHT)
    left = window.x + CELL_WIDTH * np.arange(window.width // CELL_WIDTH)
    rows, columns = (top >= 0) & (top + CELL_HEIGHT <= PANEL_TOP), (left >= 0) & (left + CELL_WIDTH <= WIDTH)
    return rows[:, None] & columns


def _free_of_pointer(sessions: DesktopSessions, n: int, t: int, window: Window) -> NDArray[np.bool_]:
    """Tells which cells of a window's content the pointer's image does not touch after event ``t``."""
    x, y, shape = sessions.pointers[n, t]
    sprite = sessions.sprites[shape]
    touched = np.zeros((HEIGHT, WIDTH), np.bool_)
    top, left = y - sprite.hot[1], x - sprite.hot[0]
    touched[max(top, 0) : top + sprite.pixels.shape[0], max(left, 0) : left + sprite.pixels.shape[1]] = True
    free = np.zeros_like(on := _on_screen(window))
    rows, columns = np.nonzero(on)
    top, left = window.y + CELL_HEIGHT * rows, window.x + CELL_WIDTH * columns
    cells = touched[top[:, None, None] + np.arange(CELL_HEIGHT)[:, None], left[:, None, None] + np.arange(CELL_WIDTH)]
    free[rows, columns] = ~cells.any((1, 2))
    return free


def terminal_of(windows: list[Window]) -> Window | None:
    """Returns xterm's window if it has the keyboard and nothing lies over it, else None."""
    shown = [window for window in windows if not window.minimized]
    return shown[-1] if shown and shown[-1].active and shown[-1].title == TERMINAL else None


def text_scores(sessions: DesktopSessions, film: Film) -> TextScores:
    """Reads xterm after every key typed into it, on the real screens and on those of ``film``."""
    count, steps, _ = sessions.events.shape
    typed, typed_right, shown, shown_right = np.zeros((4, count, steps), np.int64)
    for n, t in np.argwhere(sessions.events[:, :, 3] != KEY_INDEX["noop"]).tolist():
        window = terminal_of(sessions.windows[n][t])
        if window is None or terminal_of(sessions.windows[n][t + 1]) != window:
            continue
        free = _free_of_pointer(sessions, n, t, window) & _free_of_pointer(sessions, n, t + 1, window)
        real, other = (read_window(each.screen(n, t + 1), window) for each in (sessions.film, film))
        there = ((real != _BLANK) | (other != _BLANK)) & free
        shown[n, t], shown_right[n, t] = there.sum(), (there & (real == other)).sum()
        if len(KEYS[sessions.events[n, t, 3]]) == 1:
            new = (real != read_window(sessions.film.screen(n, t), window)) & (real != _BLANK) & free
            typed[n, t], typed_right[n, t] = new.sum(), (new & (real == other)).sum()
    return TextScores(typed, typed_right, shown, shown_right)
