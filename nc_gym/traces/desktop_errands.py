"""Seven desktop users that keep no human pace, as environments and agents do.

One is in a hurry: throws windows in one jump, opens the next program at once. One does nothing for hundreds of events.
One works at the keyboard: writes files and reads them again, adds and subtracts numbers, wherever the pointer is. One
keeps to the calculator. One types into xterms, often what bash complains about. One opens windows only to close them
again, so that it shows which one comes next. One arranges windows: sizes, drops, maximises, minimises, restores them.
"""

from __future__ import annotations

from collections.abc import Sequence

from nc_gym.machines.desktop_events import HEIGHT, WIDTH
from nc_gym.machines.window import Window
from nc_gym.traces.desktop_hand import Act
from nc_gym.traces.desktop_users import LAUNCHERS, PANEL_TOP, GoalUser
from nc_gym.traces.words import random_sum, random_word, unknown_command

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

    def _on_title(self, window: Window) -> tuple[int, int]:
        """Returns a pixel of a window's title, left of its buttons; it may be off the screen or under other windows."""
        return window.x + self.rng.randrange(4, max(8, window.width - 56)), window.y - 8

    def _anywhere(self) -> tuple[int, int]:
        """Returns a pixel above the panel to which a title may be dragged."""
        return self.rng.randrange(4, WIDTH - 60), self.rng.randrange(4, PANEL_TOP - 12)

    def _throw(self, window: Window, at_once: bool = False) -> None:
        """Presses on a title, jumps anywhere, releases there; ``at_once``, the release itself is the jump."""
        at = self._on_title(window)
        if not (0 <= at[0] < WIDTH and 0 <= at[1] < HEIGHT):
            return
        to = self._anywhere()
        acts = [(at, "left press"), (to, "none"), (to, "left release")]
        for (x, y), button in acts[::2] if at_once else acts:
            self._hand.do(x, y, button, purpose=f"move {window.title}")


class WaitingUser(GoalUser):
    """A goal-directed user that now and then leaves the desktop as it is for long."""

    def plan(self, windows: Sequence[Window]) -> list[Act]:
        """See ``GoalUser``."""
        if self.rng.random() > 0.08:
            return super().plan(windows)
        for _ in range(self.rng.randint(40, 400)):
            self._hand.press("noop", "idle")
        return self._hand.taken()


class ClerkUser(ErrandUser):
    """A user in a hurry that mostly notes words in files, reads them, and computes."""

    def plan(self, windows: Sequence[Window]) -> list[Act]:
        """See ``GoalUser``."""
        shown = [window for window in windows if not window.minimized]
        desks = [window for window in windows if window.title != "Edit"]
        kind = self.rng.random()
        if not desks or (kind < 0.14 and len(windows) < _MOST_WINDOWS):
            self._launch()
        elif shown and kind < 0.22:
            self._throw(shown[-1])
        elif shown and kind < 0.27:
            self._hand.press("Alt-F4", f"close {shown[-1].title}")
        else:
            window = self.rng.choice(desks)
            if not window.active:
                self._raise_at_once(window)
            self._note() if window.title == "Term" else self._sums()
        return self._hand.taken()

    def _note(self) -> None:
        """Writes a word to a file and reads that file or an earlier one; now and then on a cleared screen."""
        lines = ["clear"] if self.rng.random() < 0.15 else []
        for _ in range(self.rng.choice((0, 1, 1, 1, 2))):
            self._files.append(self._word())
            lines.append(f"echo {self._word()} > {self._files[-1]}")
        if self._files:
            lines.append(f"cat {self._files[-1] if self.rng.random() < 0.7 else self.rng.choice(self._files)}")
        for line in lines:
            self._hand.type(line + "\n", "type in Term")

    def _word(self) -> str:
        """Returns a word, more often than elsewhere a short one, as a task's."""
        return random_word(self.rng, self.split, longest=self.rng.choice((2, 3, 4, 7)))

    def _sums(self) -> None:
        """Types one or more sums or differences, each over the last one's result; half of them of single digits."""
        for _ in range(self.rng.randint(1, 3)):
            below = self.rng.choice((10, 100))  # whoever learns to add begins with small numbers
            self._hand.type(random_sum(self.rng, self.split, below) + "\n", "compute")


class AccountantUser(ClerkUser):
    """A clerk that hardly leaves the calculator, typing there or clicking on its buttons."""

    def plan(self, windows: Sequence[Window]) -> list[Act]:
        """See ``GoalUser``."""
        if self.rng.random() < 0.1:
            return super().plan(windows)
        calculators = [window for window in windows if window.title == "Calc"]
        if not calculators:
            self._launch("Calc")
        elif not calculators[-1].active:
            self._raise_at_once(calculators[-1])
        elif self.rng.random() < 0.6:
            self._sums()
        else:
            self._compute(calculators[-1])
        return self._hand.taken()


class TypistUser(ClerkUser):
    """A clerk that types into xterms of all sizes and places, often what bash complains about."""

    def plan(self, windows: Sequence[Window]) -> list[Act]:
        """See ``GoalUser``."""
        terminals = [window for window in windows if window.title == "Term"]
        kind = self.rng.random()
        if not terminals:
            self._launch("Term")
        elif not terminals[-1].active:
            self._raise_at_once(terminals[-1])
        elif kind < 0.12:
            self.rng.choice((self._throw, self._resize, self._maximize))(terminals[-1])
        elif kind < 0.16 and len(windows) < _MOST_WINDOWS:
            self._launch()
        elif kind < 0.18:
            self._hand.press("Alt-F4", "close Term")
        elif kind < 0.4:
            self._command(terminals[-1])
        elif kind < 0.55:
            self._note()
        else:
            word = self._word()
            if self._files and self.rng.random() < 0.45:
                word = self.rng.choice(self._files)  # or cat and rm would always complain
            line = self.rng.choice((f"cat {word}", f"rm {word}", unknown_command(self.rng, self.split)))
            self._hand.type(line + "\n", "type in Term")
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
        else:
            return super().plan(windows)
        return self._hand.taken()

    def _pull(self, window: Window) -> None:
        """Drags the title or the lower right corner anywhere, a maximised window's, too; may hold it there for long."""
        at = window.x + window.width + 1, window.y + window.height + 1
        to = at[0] - self.rng.randint(-40, 140), at[1] - self.rng.randint(-30, 90)
        if self.rng.random() < 0.3:
            at, to = self._on_title(window), self._anywhere()
        self._hand.do(*at, "left press", purpose=f"pull {window.title}")
        self._hand.do(*to, purpose=f"pull {window.title}")
        for _ in range(self.rng.choice((0, 0, 0, 2, 8, 32))):
            self._hand.press("noop", "hold")
        self._hand.do(*to, "left release", purpose=f"pull {window.title}")
