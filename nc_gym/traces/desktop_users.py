"""Seeded synthetic users of the desktop: what each does next, given the windows that are open.

A goal-directed user opens, moves, resizes, minimises, restores, raises and closes windows, computes, types, and opens
menus to choose or to cancel. A slow and a fast random user wander and jump, clicking and typing wherever they are. All
look only at the window list, never at pixels, and the words they type belong to their split.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from nc_gym.machines.desktop_events import BIN, BUTTONS, HEIGHT, WIDTH, event
from nc_gym.machines.window import Window
from nc_gym.traces.desktop_hand import Act, Hand
from nc_gym.traces.words import Split, random_sum, random_word, unknown_command, weighted

PANEL_TOP = HEIGHT - 24
LAUNCHERS = {"Term": (56, 228), "Calc": (80, 228), "Edit": (104, 228)}
_MENU = (20, 228)
_MENU_ROWS = ("Term", "Calc", "Edit")
CALCULATOR_WIDTH = 184  # when it opens
_CALCULATOR = ("789/C", "456*(", "123-)", "0.n+=")
_MOST_WINDOWS = 3
_LINES: tuple[tuple[str, int], ...] = (
    ("echo {word}", 5), ("ls", 5), ("touch {word}", 3), ("echo {word} > {file}", 3), ("cat {file}", 3),
    ("rm {file}", 2), ("echo $(({sum}))", 3), ("{unknown}", 2), ("clear", 2), ("pwd", 1),
    ("mkdir {word}", 1), ("exit", 1),
)  # fmt: skip


class GoalUser:
    """A user that wants something: each plan is one goal, carried out.

    Args:
        rng: the session's random stream.
        split: which words may be typed.
    """

    def __init__(self, rng: Random, split: Split) -> None:
        self.rng = rng
        self.split = split
        self._hand = Hand(rng)
        self._files: list[str] = []

    def plan(self, windows: Sequence[Window]) -> list[Act]:
        """Returns the events of the next goal.

        Args:
            windows: the open windows, lowest first.
        """
        shown = [window for window in windows if not window.minimized]
        hidden = [window for window in windows if window.minimized]
        goals: list[tuple[Callable[[], None], int]] = [(self._cancel_menu, 5), (self._wander, 5), (self._idle, 2)]
        if len(windows) < _MOST_WINDOWS:
            goals.append((self._open, 60 if not shown else 14))
        if hidden:
            goals.append((lambda: self._task(self.rng.choice(hidden), "restore"), 12))
        if shown:
            top = shown[-1]
            any_window = self.rng.choice(shown)
            goals += [
                (lambda: self._use(top if self.rng.random() < 0.7 else any_window, shown), 46),
                (lambda: self._drag_title(any_window, shown), 12),
                (lambda: self._resize(top), 7),
                (lambda: self._minimize(any_window, shown), 6),
                (lambda: self._maximize(top), 5),
                (lambda: self._close(any_window, shown), 4 + 5 * (len(windows) >= _MOST_WINDOWS)),
            ]
        if len(shown) > 1:
            goals.append((lambda: self._raise(shown), 12))
        weighted(self.rng, *zip(*goals, strict=True))()
        return self._hand.taken()

    def _point_in(self, window: Window, shown: Sequence[Window], title: bool) -> tuple[int, int] | None:
        """Returns a pixel of a window's title (left of its buttons) or content that no other window covers."""
        above = shown[shown.index(window) + 1 :]
        for _ in range(20):
            if title:
                x, y = window.x + self.rng.randrange(4, max(8, window.width - 56)), window.y - 8
            else:
                x = window.x + self.rng.randrange(4, max(8, window.width - 4))
                y = window.y + self.rng.randrange(4, max(8, window.height - 4))
            covered = (w.x - 5 <= x <= w.x + w.width + 4 and w.y - 17 <= y <= w.y + w.height + 4 for w in above)
            if 0 <= x < WIDTH and 0 <= y < PANEL_TOP and not any(covered):
                return x, y
        return None

    def _open(self) -> None:
        title = self.rng.choice(_MENU_ROWS)
        if self.rng.random() < 0.6:
            self._hand.click(*LAUNCHERS[title], f"open {title}")
        else:
            top = self._open_menu()
            row = top[1] + 24 * _MENU_ROWS.index(title) + 12
            self._hand.click(top[0] + self.rng.randrange(8, 72), row, f"open {title}")

    def _open_menu(self) -> tuple[int, int]:
        """Opens the menu from the panel or on the desktop; returns the pixel of its upper left corner."""
        if self.rng.random() < 0.7:
            self._hand.click(*_MENU, "open menu")
            return 4, PANEL_TOP - 72
        x, y = (
            self.rng.randrange(208, 228),
            self.rng.randrange(0, 28),
        )  # seldom covered, and the menu fits on the screen
        self._hand.click(x, y, "open menu", "right click")
        return x, y

    def _cancel_menu(self) -> None:
        top = self._open_menu()
        for _ in range(self.rng.randint(0, 4)):
            self._hand.do(top[0] + self.rng.randrange(4, 80), top[1] + self.rng.randrange(72), purpose="look at menu")
        self._hand.click(self.rng.randrange(240, WIDTH), self.rng.randrange(PANEL_TOP - 20, PANEL_TOP), "cancel menu")

    def _wander(self) -> None:
        for _ in range(self.rng.randint(1, 5)):
            self._hand.do(self.rng.randrange(WIDTH), self.rng.randrange(HEIGHT), purpose="wander")

    def _idle(self) -> None:
        for _ in range(self.rng.randint(1, 3)):
            self._hand.press("noop", "idle")

    def _task(self, window: Window, purpose: str, button: str = "left click") -> None:
        self._hand.click(*self._entry(window), f"{purpose} {window.title}", button)

    def _entry(self, window: Window) -> tuple[int, int]:
        """Returns a pixel of a window's entry in the task list."""
        return 117 + 64 * window.task + self.rng.randrange(8, 56), 228

    def _button(self, window: Window, place: int) -> tuple[int, int]:
        """Returns a pixel of a button of a window's title: 0 is close, 1 maximise, 2 minimise."""
        return window.x + window.width - 8 - 16 * place, window.y - 8

    def _raise(self, shown: Sequence[Window]) -> None:
        window = self.rng.choice(shown[:-1])
        place = self._point_in(window, shown, title=self.rng.random() < 0.5 or window.title == "Calc")
        if self.rng.random() < 0.25:
            self._hand.press("Alt-Tab", "raise another")
        elif place is None or self.rng.random() < 0.3:
            self._task(window, "raise")
        else:
            self._hand.click(*place, f"raise {window.title}")

    def _drag_title(self, window: Window, shown: Sequence[Window]) -> None:
        place = self._point_in(window, shown, title=True)
        if place is None:
            self._raise(shown) if len(shown) > 1 else self._wander()
            return
        x = min(max(place[0] + self.rng.randint(-100, 100), 8), WIDTH - 8)
        y = min(max(place[1] + self.rng.randint(-80, 80), 8), PANEL_TOP - 12)
        self._hand.drag(*place, (x, y), f"move {window.title}")

    def _resize(self, window: Window) -> None:
        right, bottom = window.x + window.width + 1, window.y + window.height + 1
        if right >= WIDTH - 2 or bottom >= PANEL_TOP - 2:
            self._maximize(window)
            return
        x = min(max(right + self.rng.randint(-90, 90), window.x + 100), WIDTH - 4)
        y = min(max(bottom + self.rng.randint(-60, 60), window.y + 60), PANEL_TOP - 4)
        self._hand.drag(right, bottom, (x, y), f"resize {window.title}")

    def _minimize(self, window: Window, shown: Sequence[Window]) -> None:
        if window is shown[-1] and self.rng.random() < 0.8:
            self._hand.click(*self._button(window, 2), f"minimize {window.title}")
        elif window is shown[-1]:
            self._task(window, "minimize")
        else:
            self._task(window, "raise")

    def _maximize(self, window: Window) -> None:
        if self.rng.random() < 0.5:
            self._hand.click(*self._button(window, 1), f"maximize {window.title}")
        else:
            self._hand.click(window.x + 20, window.y - 8, f"maximize {window.title}", "double click")

    def _close(self, window: Window, shown: Sequence[Window]) -> None:
        if window is not shown[-1]:
            self._raise(shown)
        elif self.rng.random() < 0.7:
            self._hand.click(*self._button(window, 0), f"close {window.title}")
        else:
            self._hand.press("Alt-F4", f"close {window.title}")

    def _use(self, window: Window, shown: Sequence[Window]) -> None:
        """Works in a window; one that does not have the keyboard is only raised."""
        place = self._point_in(window, shown, title=window.title == "Calc")
        if not window.active or window is not shown[-1]:
            if place is not None:
                self._hand.click(*place, f"raise {window.title}")
            else:
                self._task(window, "raise")
        elif window.title == "Term":
            self._command(window)
        elif window.title == "Calc":
            self._compute(window)
        else:
            self._write(window)

    def _command(self, window: Window) -> None:
        if self.rng.random() < 0.07:
            place = (window.x + window.width // 2, window.y + window.height // 2)
            self._hand.click(*place, "scroll Term", self.rng.choice(("wheel up", "wheel down")))
            return
        name = random_word(self.rng, self.split)
        if self.rng.random() < 0.5 or not self._files:
            self._files.append(name)
        line = weighted(self.rng, *zip(*_LINES, strict=True)).format(
            word=name, file=self.rng.choice(self._files), sum=random_sum(self.rng, self.split),
            unknown=unknown_command(self.rng, self.split),
        )  # fmt: skip
        if self.rng.random() < 0.06:
            self._hand.press("Up", "recall in Term")
            line = ""
        self._hand.type(line + "\n", "type in Term")

    def _compute(self, window: Window) -> None:
        text = random_sum(self.rng, self.split).replace("+", self.rng.choice("+*")) + "="
        if self.rng.random() < 0.2:
            text = "C" + text
        elif self.rng.random() < 0.2:
            text += self.rng.choice("+-*/") + self.rng.choice("123456789") + "="
        if self.rng.random() < 0.25:
            self._hand.do(window.x + 60, window.y + 16, purpose="compute")
            self._hand.type(text.replace("C", " ").replace("=", "\n"), "compute")
            return
        self._click_keys(window, text)

    def _click_keys(self, window: Window, text: str) -> None:
        """Clicks on the calculator's keys, where they are as long as it has its first size."""
        for char in text:
            row = next(i for i, keys in enumerate(_CALCULATOR) if char in keys)
            x = window.x + 4 + 36 * _CALCULATOR[row].index(char) + self.rng.randrange(6, 26)
            self._hand.do(x, window.y + 32 + 28 * row + self.rng.randrange(4, 20), "left click", purpose="compute")

    def _write(self, window: Window) -> None:
        kind = self.rng.random()
        if kind < 0.06:
            self._hand.click(window.x + 60, window.y + 8, "save in Edit")
        elif kind < 0.25:
            for _ in range(self.rng.randint(1, 6)):
                keys = ("Up", "Down", "Left", "Right", "Home", "End", "Backspace", "Enter")
                self._hand.press(self.rng.choice(keys), "edit in Edit")
        else:
            words = [random_word(self.rng, self.split) for _ in range(self.rng.randint(1, 3))]
            self._hand.type(" ".join(words) + self.rng.choice((" ", "\n", ". ", ", ", "\n")), "type in Edit")


class RandomUser:
    """A user that points, clicks and types anywhere.

    Args:
        rng: the session's random stream.
        split: which words may be typed.
        fast: jump anywhere and click often, instead of wandering in small steps.
    """

    def __init__(self, rng: Random, split: Split, fast: bool) -> None:
        self.rng = rng
        self.split = split
        self.fast = fast
        self._at = (WIDTH // 2, HEIGHT // 2)

    def plan(self, windows: Sequence[Window]) -> list[Act]:
        """Returns a few events."""
        if self.rng.random() < (0.12 if self.fast else 0.06):
            word = unknown_command(self.rng, self.split) + self.rng.choice(("", " ", "\n"))
            return [self._act(key="Enter" if char == "\n" else char) for char in word]
        if self.rng.random() < 0.05 or len(windows) > _MOST_WINDOWS:
            keys = (
                ("Alt-F4",) if len(windows) > _MOST_WINDOWS else ("Alt-Tab", "Up", "Left", "Backspace", "Home", "Tab")
            )
            return [self._act(key=self.rng.choice(keys))]
        if self.fast and self.rng.random() < 0.4:
            self._at = self.rng.choice((*LAUNCHERS.values(), _MENU, (150, 228), (214, 228)))
        elif self.fast:
            self._at = (self.rng.randrange(WIDTH), self.rng.randrange(HEIGHT))
        else:
            x, y = (value + BIN * self.rng.randint(-6, 6) for value in self._at)
            self._at = (min(max(x, 0), WIDTH - 1), min(max(y, 0), HEIGHT - 1))
        weights = (35, 10, 12, 28, 4, 5, 3, 3) if self.fast else (78, 4, 5, 8, 1, 2, 1, 1)
        return [self._act(weighted(self.rng, BUTTONS, weights))]

    def _act(self, button: str = "none", key: str = "noop") -> Act:
        return Act(event(*self._at, button, key), "random")
