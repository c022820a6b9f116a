"""Desktop users that keep no human pace, as environments and agents do, and mostly handle windows.

One is in a hurry: throws windows in one jump, opens the next program at once. One does nothing for hundreds of events.
One opens windows only to close them again, so that it shows which one comes next. One arranges windows: sizes, drops,
maximises, minimises, restores them. One opens every menu there is. One does other things while it holds the button.
"""

from __future__ import annotations

from collections.abc import Sequence

from nc_gym.machines.desktop_events import HEIGHT, WIDTH
from nc_gym.machines.window import Window
from nc_gym.traces.desktop_hand import Act
from nc_gym.traces.desktop_users import LAUNCHERS, PANEL_TOP, GoalUser
from nc_gym.traces.words import random_word

MOST_WINDOWS = 4


class ErrandUser(GoalUser):
    """A goal-directed user that mostly opens, throws and waits."""

    def plan(self, windows: Sequence[Window]) -> list[Act]:
        """See ``GoalUser``."""
        shown = [window for window in windows if not window.minimized]
        kind = self.rng.random()
        if kind < 0.04:
            for _ in range(self.rng.randint(8, 40)):
                self._hand.press("noop", "idle")
        elif len(windows) < MOST_WINDOWS and kind < (0.35 if shown else 0.8):
            self._launch()
        elif shown and kind < 0.55:
            self._throw(shown[-1])
            if self.rng.random() < 0.5 and len(windows) < MOST_WINDOWS:
                self._launch()
        elif shown and kind < 0.62:
            self._hand.press("Alt-F4", f"close {shown[-1].title}")
        elif windows and kind < 0.7:
            self._task(self.rng.choice(windows), "task")
        else:
            return super().plan(windows)
        return self._hand.taken()

    def _launch(self, *titles: str) -> None:
        """Clicks on one of the launchers, or of those of ``titles``, without any way there."""
        title = self.rng.choice(titles or list(LAUNCHERS))
        x, y = LAUNCHERS[title]
        spread = self.rng.choice((0, 8))
        at = x + self.rng.randint(-spread, spread), y + self.rng.randint(-spread, spread)
        self._hand.do(*at, "left click", purpose=f"open {title}")

    def _raise_at_once(self, window: Window) -> None:
        """Clicks on a window's entry in the task list without any way there."""
        self._hand.do(*self._entry(window), "left click", purpose=f"raise {window.title}")

    def _entry(self, window: Window) -> tuple[int, int]:
        """See ``GoalUser``: anywhere on the entry, not only at half its height, as those may click who see squares."""
        return super()._entry(window)[0], self.rng.randrange(220, 238)

    def _button(self, window: Window, place: int) -> tuple[int, int]:
        """See ``GoalUser``: anywhere on the button."""
        x, y = super()._button(window, place)
        return x + self.rng.randint(-5, 5), y + self.rng.randint(-5, 5)

    def _on_title(self, window: Window) -> tuple[int, int]:
        """Returns a pixel of a window's title, left of its buttons; it may be off the screen or under other windows."""
        return window.x + self.rng.randrange(4, max(8, window.width - 56)), window.y - 8

    def _anywhere(self) -> tuple[int, int]:
        """Returns a pixel above the panel to which a title may be dragged."""
        return self.rng.randrange(4, WIDTH - 60), self.rng.randrange(4, PANEL_TOP - 12)

    def _throw(self, window: Window, at_once: bool = False) -> None:
        """Presses on a title, jumps anywhere, releases there; ``at_once``, the release itself is the jump."""
        self._jump(window, self._on_title(window), self._anywhere(), at_once)

    def _throw_off(self, window: Window) -> None:
        """Throws a window so that the screen's left edge cuts it."""
        left = -self.rng.randrange(8, max(9, min(104, window.width - 64)))
        grip = self.rng.randrange(4 - left, max(5 - left, window.width - 56))
        self._jump(window, (window.x + grip, window.y - 8), (left + grip, self._anywhere()[1]))

    def _jump(self, window: Window, at: tuple[int, int], to: tuple[int, int], at_once: bool = False) -> None:
        """Drags a window from ``at``, if that is on the screen, to ``to``."""
        if not (0 <= at[0] < WIDTH and 0 <= at[1] < HEIGHT):
            return
        acts = [(at, "left press"), (to, "none"), (to, "left release")]
        for (x, y), button in acts[::2] if at_once else acts:
            self._hand.do(x, y, button, purpose=f"move {window.title}")


class WaitingUser(GoalUser):
    """A goal-directed user that now and then leaves the desktop as it is for long."""

    def plan(self, windows: Sequence[Window]) -> list[Act]:
        """See ``GoalUser``."""
        if self.rng.random() > 0.08:
            return super().plan(windows)
        held = windows[-1] if windows and not windows[-1].minimized and self.rng.random() < 0.4 else None
        if held is not None:
            x, y = held.x + self.rng.randrange(4, max(8, held.width - 56)), held.y - 8
            self._hand.do(x, y, "left press", purpose=f"hold {held.title}")
            if self.rng.random() < 0.7:
                self._hand.do(
                    x + self.rng.randint(-60, 60), y + self.rng.randint(-40, 40), purpose=f"hold {held.title}"
                )
        for _ in range(self.rng.randint(40, 400)):
            self._hand.press("noop", "idle")
        if held is not None:
            self._hand.do(*self._hand.at, "left release", purpose=f"hold {held.title}")
        return self._hand.taken()


class TidyUser(ErrandUser):
    """A user in a hurry that opens windows, raises them from the task list, and closes them."""

    def plan(self, windows: Sequence[Window]) -> list[Act]:
        """See ``GoalUser``."""
        behind = [window for window in windows if not window.active]
        kind = self.rng.random()
        if len(windows) < self.rng.choice((2, 3, 3, 4)):
            self._launch()
        elif kind < 0.2:
            self._throw(windows[-1])
        elif behind:
            self._raise_at_once(self.rng.choice(behind))
            if kind < 0.8:
                self._hand.press("Alt-F4", "close what was raised")
        else:
            self._hand.press("Alt-F4", "close the last")
        return self._hand.taken()


class ArrangerUser(ErrandUser):
    """A user in a hurry that resizes, drops, maximises, minimises and restores windows."""

    def plan(self, windows: Sequence[Window]) -> list[Act]:
        """See ``GoalUser``."""
        shown = [window for window in windows if not window.minimized]
        kind = self.rng.random()
        if len(windows) < self.rng.choice((1, 2, 2, 3)):
            self._launch()
        elif not shown or kind < 0.15:
            self._task(self.rng.choice(windows), "task")
        elif kind < 0.3:
            self._resize(shown[-1])
        elif kind < 0.4:
            self._pull(shown[-1])
        elif kind < 0.55:
            self._throw(shown[-1], at_once=True)
        elif kind < 0.75:
            self._maximize(shown[-1])
        elif kind < 0.83:
            self._minimize(self.rng.choice(shown), shown)
        elif kind < 0.88:
            self._close(shown[-1], shown)
        elif kind < 0.94 and len(shown) > 1:
            self._bury(shown[-1], shown[-2])
        else:
            return super().plan(windows)
        return self._hand.taken()

    def _bury(self, window: Window, other: Window) -> None:
        """Throws a window half off the screen, covers it with another one, maximised unless it was, and raises it."""
        self._throw_off(window)
        self._raise_at_once(other)
        self._hand.do(*self._button(other, 1), "left click", purpose=f"maximize {other.title}")
        self._raise_at_once(window)

    def _pull(self, window: Window) -> None:
        """Drags the title or the lower right corner anywhere, a maximised window's, too; may hold it there for long."""
        at = window.x + window.width + 1, window.y + window.height + 1
        to = at[0] - self.rng.randint(-40, 140), at[1] - self.rng.randint(-30, 90)
        if self.rng.random() < 0.5:
            at, to = self._on_title(window), self._anywhere()
        self._hand.do(*at, "left press", purpose=f"pull {window.title}")
        self._hand.do(*to, purpose=f"pull {window.title}")
        for _ in range(self.rng.choice((0, 0, 0, 2, 8, 32, 64))):
            self._hand.press("noop", "hold")
        self._hand.do(*to, "left release", purpose=f"pull {window.title}")


class MenuUser(ErrandUser):
    """A user in a hurry that right-clicks wherever something opens a menu, looks at it, and chooses or cancels."""

    def plan(self, windows: Sequence[Window]) -> list[Act]:
        """See ``GoalUser``."""
        shown = [window for window in windows if not window.minimized]
        if self.rng.random() < 0.4 or not shown:
            return super().plan(windows)
        window = self.rng.choice(shown)
        inside = window.x + self.rng.randrange(window.width), window.y + self.rng.randrange(window.height)
        root = self.rng.randrange(WIDTH), self.rng.randrange(PANEL_TOP)
        x, y = self.rng.choice((root, inside, self._on_title(window), self._on_title(window), self._entry(window)))
        self._hand.do(x, y, "right click", purpose="open menu")
        for _ in range(self.rng.randint(0, 3)):
            self._hand.do(x + self.rng.randrange(4, 80), y + self.rng.randint(-100, 100), purpose="look at menu")
        if self.rng.random() < 0.6 and len(windows) < MOST_WINDOWS:  # a choice may open one more
            down = self.rng.choice((-1, 1)) * self.rng.randrange(6, 120)  # a menu near the bottom opens upwards
            self._hand.do(x + self.rng.randrange(4, 60), y + down, "left click", purpose="choose in menu")
        else:
            self._hand.do(self.rng.randrange(WIDTH), self.rng.randrange(HEIGHT), "left click", purpose="cancel menu")
        return self._hand.taken()


class FumblerUser(ErrandUser):
    """A user in a hurry that presses on a title, a border or an entry and does other things before it lets go."""

    def plan(self, windows: Sequence[Window]) -> list[Act]:
        """See ``GoalUser``."""
        shown = [window for window in windows if not window.minimized]
        if self.rng.random() < 0.5 or not shown:
            return super().plan(windows)
        window = self.rng.choice(shown)
        corner = window.x + window.width + 1, window.y + window.height + 1
        at = self.rng.choice((self._on_title(window), self._on_title(window), corner, self._entry(window)))
        self._hand.do(*at, "left press", purpose="fumble")
        for turn in range(self.rng.randint(1, 4)):
            self._fumble(room=len(windows) + 2 * turn + 1 < MOST_WINDOWS)  # a double click opens two
        to = at if self.rng.random() < 0.4 else self._anywhere()
        self._hand.do(*to, "left release", purpose="fumble")
        return self._hand.taken()

    def _fumble(self, room: bool) -> None:
        """Does something that one does not do while a button is held; opens windows only if there is ``room``."""
        kind = self.rng.random()
        if kind < 0.25:
            self._hand.press(random_word(self.rng, self.split)[0], "fumble")
        elif kind < 0.4:
            self._hand.press(self.rng.choice(("Alt-Tab", "Enter", "Up", "Backspace", "Alt-F4")), "fumble")
        elif kind < 0.6:
            self._hand.do(*self._anywhere(), purpose="fumble")
        else:
            x, y = self.rng.choice((*LAUNCHERS.values(), self._anywhere()) if room else (self._anywhere(),))
            button = self.rng.choice(("left click", "left click", "right click", "left press", "double click"))
            self._hand.do(x, y, button, purpose="fumble")
