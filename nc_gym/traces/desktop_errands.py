"""Two desktop users that keep no human pace, as environments and agents do.

One is in a hurry: throws windows in one jump, opens the next program at once. One does nothing for hundreds of events.
"""

from __future__ import annotations

from collections.abc import Sequence

from nc_gym.machines.desktop_events import HEIGHT, WIDTH
from nc_gym.machines.window import Window
from nc_gym.traces.desktop_hand import Act
from nc_gym.traces.desktop_users import LAUNCHERS, PANEL_TOP, GoalUser

_MOST_WINDOWS = 4


class ErrandUser(GoalUser):
    """A goal-directed user that mostly opens, throws and waits."""

    def plan(self, windows: Sequence[Window]) -> list[Act]:
        """See ``GoalUser``."""
        shown = [window for window in windows if not window.minimized]
        kind = self.rng.random()
        if kind < 0.04:
            for _ in range(self.rng.randint(8, 40)):
                self._hand.press("noop", "idle")
        elif len(windows) < _MOST_WINDOWS and kind < (0.35 if shown else 0.8):
            self._launch()
        elif shown and kind < 0.55:
            self._throw(shown[-1])
            if self.rng.random() < 0.5 and len(windows) < _MOST_WINDOWS:
                self._launch()
        elif shown and kind < 0.62:
            self._hand.press("Alt-F4", f"close {shown[-1].title}")
        elif windows and kind < 0.7:
            self._task(self.rng.choice(windows), "task")
        else:
            return super().plan(windows)
        return self._hand.taken()

    def _launch(self) -> None:
        """Clicks on a launcher without any way there."""
        title = self.rng.choice(list(LAUNCHERS))
        x, y = LAUNCHERS[title]
        spread = self.rng.choice((0, 8))
        at = x + self.rng.randint(-spread, spread), y + self.rng.randint(-spread, spread)
        self._hand.do(*at, "left click", purpose=f"open {title}")

    def _throw(self, window: Window) -> None:
        """Presses on a title, jumps anywhere, releases there."""
        at = window.x + self.rng.randrange(4, max(8, window.width - 56)), window.y - 8
        if not (0 <= at[0] < WIDTH and 0 <= at[1] < HEIGHT):
            return
        to = self.rng.randrange(4, WIDTH - 60), self.rng.randrange(4, PANEL_TOP - 12)
        for place, button in ((at, "left press"), (to, "none"), (to, "left release")):
            self._hand.do(*place, button, purpose=f"move {window.title}")


class WaitingUser(GoalUser):
    """A goal-directed user that now and then leaves the desktop as it is for long."""

    def plan(self, windows: Sequence[Window]) -> list[Act]:
        """See ``GoalUser``."""
        if self.rng.random() > 0.08:
            return super().plan(windows)
        for _ in range(self.rng.randint(40, 400)):
            self._hand.press("noop", "idle")
        return self._hand.taken()
