"""Desktop users in a hurry that mostly work at the keyboard, wherever the pointer is.

One writes files and reads them again, adds and subtracts numbers. One keeps to the calculator. One types into xterms of
all sizes and places, often what bash complains about. One writes in the editor.
"""

from __future__ import annotations

from collections.abc import Sequence

from nc_gym.machines.desktop_events import WIDTH
from nc_gym.machines.window import Window
from nc_gym.traces.desktop_errands import MOST_WINDOWS, ErrandUser
from nc_gym.traces.desktop_hand import Act
from nc_gym.traces.desktop_users import CALCULATOR_WIDTH, PANEL_TOP
from nc_gym.traces.words import random_sum, random_word, unknown_command, weighted


class ClerkUser(ErrandUser):
    """A user in a hurry that mostly notes words in files, reads them, and computes."""

    def plan(self, windows: Sequence[Window]) -> list[Act]:
        """See ``GoalUser``."""
        shown = [window for window in windows if not window.minimized]
        desks = [window for window in windows if window.title != "Edit"]
        kind = self.rng.random()
        if not desks or (kind < 0.14 and len(windows) < MOST_WINDOWS):
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
        elif self.rng.random() < 0.06:
            self.rng.choice((self._resize, self._maximize))(calculators[-1])
        elif self.rng.random() < (0.5 if calculators[-1].width == CALCULATOR_WIDTH else 0.85):
            self._sums()  # its keys stand elsewhere once it has another size
        else:
            self._compute(calculators[-1])
        return self._hand.taken()

    def _compute(self, window: Window) -> None:
        """Clicks a sum or a difference, half of them of single digits; one end of it, or both, may be typed instead."""
        text = random_sum(self.rng, self.split, self.rng.choice((10, 100)))
        typed, entered = self.rng.random() < 0.15, self.rng.random() < 0.2
        if typed:
            self._hand.do(window.x + 60, window.y + 16, purpose="compute")
            self._hand.type(text, "compute")
        else:
            self._click_keys(window, text)
        if entered:
            self._hand.press("Enter", "compute")
        else:
            self._click_keys(window, "=")


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
        elif kind < 0.18:
            alter = (self._throw, self._throw_off, self._throw_off, self._resize, self._narrow, self._maximize)
            self.rng.choice(alter)(terminals[-1])
        elif kind < 0.21 and len(windows) < MOST_WINDOWS:
            self._launch()
        elif kind < 0.22:
            self._hand.press("Alt-F4", "close Term")
        elif kind < 0.38:
            self._command(terminals[-1])
        elif kind < 0.52:
            self._note()
        else:
            self._hand.type(self._line() + "\n", "type in Term")
        return self._hand.taken()

    def _line(self) -> str:
        """Returns a command, often one that bash complains about."""
        word = self._word()
        if self._files and self.rng.random() < 0.45:
            word = self.rng.choice(self._files)  # or cat and rm would always complain
        numbers = random_sum(self.rng, self.split, self.rng.choice((10, 100)))
        unknown = unknown_command(self.rng, self.split)
        lines = (f"cat {word}", f"rm {word}", unknown, f"echo $(({numbers}))", "ls", f"mkdir {word}", f"echo {word}")
        return weighted(self.rng, lines, (30, 30, 24, 14, 4, 4, 4))

    def _narrow(self, window: Window) -> None:
        """Drags the lower right corner until few letters fit on a line."""
        right, bottom = window.x + window.width + 1, window.y + window.height + 1
        if right >= WIDTH or bottom >= PANEL_TOP:
            return
        to = window.x + self.rng.randrange(96, 168), max(bottom + self.rng.randint(-40, 40), window.y + 60)
        self._hand.drag(right, bottom, to, f"resize {window.title}")


class WriterUser(ErrandUser):
    """A user in a hurry that writes in the editor: lines that wrap, anywhere in the text, in windows of all sizes."""

    def plan(self, windows: Sequence[Window]) -> list[Act]:
        """See ``GoalUser``."""
        editors = [window for window in windows if window.title == "Edit"]
        kind = self.rng.random()
        if not editors and len(windows) < MOST_WINDOWS:
            self._launch("Edit")
        elif not editors:
            self._hand.press("Alt-F4", "make room for Edit")
        elif not editors[-1].active or editors[-1].minimized:
            self._raise_at_once(editors[-1])
        elif kind < 0.5:
            words = [random_word(self.rng, self.split) for _ in range(self.rng.randint(1, 4))]
            self._hand.type(" ".join(words) + self.rng.choice((" ", " ", ". ", ", ", "\n")), "type in Edit")
        elif kind < 0.67:
            self._move_caret()
        elif kind < 0.76:
            x = editors[-1].x + self.rng.randrange(8, max(9, editors[-1].width - 8))
            y = editors[-1].y + self.rng.randrange(52, max(53, editors[-1].height - 4))  # below buttons and title line
            self._hand.do(x, y, "left click", purpose="point in Edit")
        elif kind < 0.87:
            self.rng.choice((self._resize, self._maximize, self._throw, self._throw_off))(editors[-1])
        elif kind < 0.91:
            self._reopen(editors[-1])
        else:
            return super().plan(windows)
        return self._hand.taken()

    def _move_caret(self) -> None:
        for _ in range(self.rng.randint(1, 6)):
            keys = ("Up", "Down", "Left", "Right", "Home", "End", "Backspace", "Enter")
            self._hand.press(self.rng.choice(keys), "edit in Edit")
        if self.rng.random() < 0.4:
            self._hand.press("Enter", "edit in Edit")
            self._hand.press("Left", "edit in Edit")

    def _reopen(self, window: Window) -> None:
        """Saves what was written, closes the editor and opens it again, which shows the file."""
        self._hand.do(window.x + 60, window.y + 8, "left click", purpose="save in Edit")
        self._hand.press("Alt-F4", "close Edit")
        self._launch("Edit")
