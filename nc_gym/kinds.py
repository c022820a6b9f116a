"""Kinds of computers: what differs between a terminal and a desktop for those who step, read and judge them.

A card names its kind by ``machine``. Everything else (tasks, engine, environments) is the same code for both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nc_gym.desktop_predicates import TrueWindows, WindowPredicate, window_predicate_from_table
from nc_gym.desktop_reader import DesktopReader
from nc_gym.desktop_view import DesktopView
from nc_gym.inputs import DesktopInputs, Event, Place, TerminalInputs
from nc_gym.machines.machine import Machine
from nc_gym.predicates import Predicate, TextView, predicate_from_table
from nc_gym.reader import Reader

if TYPE_CHECKING:  # the machines themselves need more than `import nc_gym` shall load
    from nc_gym.machines.desktop import XDesktop
    from nc_gym.machines.terminal import BashTerminal

Goals = tuple[Predicate, ...] | tuple[WindowPredicate, ...]
View = TextView | DesktopView


class TerminalKind:
    """A terminal: keys in, text out."""

    name = "terminal"
    event_sizes: tuple[int, ...] = ()

    def __init__(self) -> None:
        self.inputs = TerminalInputs()

    def predicate(self, table: Mapping[str, Any]) -> Predicate:
        """Builds the predicate that a card's table declares."""
        return predicate_from_table(table)

    def reader(self, num_rows: int, screen_shape: tuple[int, int, int]) -> Reader:
        """Returns a reader of ``num_rows`` screens."""
        return Reader(num_rows, screen_shape)

    def open(self, num_rows: int, boots: Sequence[Sequence[Event]]) -> BashTerminal:
        """Opens ``num_rows`` real terminals; ``boots`` are the events that they can begin with."""
        from nc_gym.machines.terminal import BashTerminal

        return BashTerminal(num_rows, boots)  # type: ignore[arg-type]

    def audits(self, success: Goals, condition: str) -> bool:
        """Tells whether a success is checked against the files at all: if there is a condition."""
        return bool(condition)

    def audit(self, machine: Machine, row: int, success: Goals, condition: str) -> bool:
        """Tells whether a bash condition on the files of a real terminal holds; an empty one does.

        One that cannot be asked does not: the agent may have put a pipe there that nobody writes to.
        """
        if not condition:
            return True
        script = f"if {condition}; then echo yes; else echo no; fi"
        try:
            answer: str = machine.run(row, ["/usr/bin/bash", "-c", script])  # type: ignore[attr-defined]
        except RuntimeError:
            return False
        return answer.splitlines()[-1:] == ["yes"]


class DesktopKind:
    """A desktop: pointer and keys in, windows out.

    Args:
        places: the card's pixels by name.
    """

    name = "desktop"

    def __init__(self, places: Mapping[str, Place]) -> None:
        self.inputs = DesktopInputs(places)
        self.event_sizes = tuple(int(size) for size in self.inputs.space.nvec)

    def predicate(self, table: Mapping[str, Any]) -> WindowPredicate:
        """Builds the predicate that a card's table declares."""
        return window_predicate_from_table(table, self.inputs.places)

    def reader(self, num_rows: int, screen_shape: tuple[int, int, int]) -> DesktopReader:
        """Returns a reader of ``num_rows`` screens."""
        return DesktopReader(num_rows, screen_shape)

    def open(self, num_rows: int, boots: Sequence[Sequence[Event]]) -> XDesktop:
        """Opens ``num_rows`` real desktops; ``boots`` are the events that they can begin with."""
        from nc_gym.machines.desktop import XDesktop

        return XDesktop(num_rows, boots)  # type: ignore[arg-type]

    def audits(self, success: Goals, condition: str) -> bool:
        """Tells whether a success is checked at all: what a window says alone has no truth beside its pixels."""
        if condition or not success:
            return bool(condition)
        last = success[-1]
        assert isinstance(last, WindowPredicate)
        return bool(last.open or last.closed or last.active or last.at)

    def audit(self, machine: Machine, row: int, success: Goals, condition: str) -> bool:
        """Tells whether the window manager confirms the last of the ``success`` predicates, and a file the condition.

        Args:
            machine: the real desktops.
            row: which of them.
            success: of the task.
            condition: ``"FILE = TEXT"``, or empty: the home has that file, and it says just that.
        """
        last = success[-1]
        assert isinstance(last, WindowPredicate)
        try:
            windows = machine.windows(row)  # type: ignore[attr-defined]
        except RuntimeError:  # the desktop died since
            return False
        if not last.windows_hold(TrueWindows(windows)):
            return False
        if not condition:
            return True
        name, _, text = condition.partition(" = ")
        try:
            content: bytes = machine.read_file(row, name)  # type: ignore[attr-defined]
        except OSError:
            return False
        return content.decode(errors="replace").strip() == text


Kind = TerminalKind | DesktopKind


def kind_of(machine: str, places: Mapping[str, Place]) -> Kind:
    """Returns the kind of computer that a card's ``machine`` names.

    Raises:
        ValueError: there is no such kind, or a terminal has places.
    """
    if machine == "desktop":
        return DesktopKind(places)
    if machine != "terminal":
        raise ValueError(f"machine is {machine!r}; choose 'terminal' or 'desktop'")
    if places:
        raise ValueError("a terminal has no pointer; leave out `places`")
    return TerminalKind()
