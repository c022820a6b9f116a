"""The real desktop: N sandboxed X servers, each with a window manager, terminal, calculator and editor.

One step is one event (``desktop_events.py``) in each chosen row, then the settled screen (``quiet.py``), of which the
pointer is a part. What runs on is shown as far as it came within ``RUN_CAP``; further steps show what it did since.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nc_gym.machines import desktop_box, sandbox
from nc_gym.machines.desktop_box import ServerLost
from nc_gym.machines.desktop_events import (
    BUTTON_PRESS,
    COLUMNS,
    HEIGHT,
    MOVE,
    ROWS,
    WIDTH,
    Event,
    Stroke,
    check,
    position,
    strokes,
)  # fmt: skip
from nc_gym.machines.pointer import Sprite, composite
from nc_gym.machines.rows import RealRows
from nc_gym.machines.window import Window

if TYPE_CHECKING:
    from nc_gym.machines.xserver import XServer

_LOGGER = logging.getLogger(__name__)
START_CAP = 60.0  # seconds in which a desktop must come up
RUN_CAP = 0.5  # processor seconds that a step waits for programs that run on
BUSY_CAP = 0.1  # processor seconds that each later step waits while they still run
HANG_CAP = 10.0  # seconds of such waiting after which the desktop counts as hung and is restarted
DOUBLE_CLICK = 0.21  # seconds after which a press no longer makes a double click (jwmrc has 200 ms)
DOUBLE_CLICK_DELTA = 2  # pixels that its two places may be apart, as in jwmrc
_STARVED_CAP = 60.0  # seconds that programs which get no processor may take longer
_SAMPLE_AFTER = 0.02  # seconds after which the processor time of programs is first looked at
_SPINS = 20
_NAP = 0.0005


class XDesktop(RealRows[Event]):
    """N real desktops. Implements the ``Machine`` protocol; events are int64 (N, 4).

    Args:
        num_rows: how many desktops.
        boots: per boot the events that are replayed into a fresh desktop.

    Attributes:
        sprites: every pointer image seen so far; ``pointers`` refers to them by index.

    Raises:
        SandboxUnavailable: programs or fonts are missing; the message names their Debian packages.
    """

    screen_shape = (HEIGHT, WIDTH, 3)

    def __init__(self, num_rows: int = 1, boots: Sequence[Sequence[Event]] = ((),)) -> None:
        desktop_box.check_packages()
        from nc_gym.machines.xserver import XServer  # loads libxcb, which a host without these packages may lack

        self._server_class = XServer
        super().__init__(num_rows, boots)
        self.sprites: list[Sprite] = []
        self._servers: dict[int, XServer] = {}
        self._drawing: dict[int, NDArray[np.uint8]] = {}  # by row whose programs run on: its pixels after the last step
        self._presses: dict[int, dict[int, tuple[tuple[int, int], float]]] = {}  # by row and frame: last place, time
        self._pointers = np.zeros((num_rows, 3), np.int64)

    def step(self, events: NDArray[np.int64], rows: NDArray[np.bool_]) -> None:
        """Sends one event (N, 4) to each chosen row (N,) and waits for the settled screens."""
        check(events, rows)
        chosen = [int(row) for row in np.flatnonzero(rows)]
        for row in chosen:
            self._server(row)
        self._restarted[:] = False
        self._send({row: (*events[row].tolist(),) for row in chosen})

    def _server(self, row: int) -> XServer:
        if row not in self._servers:
            raise RuntimeError(f"row {row} has no desktop before its first reset: call reset for it first")
        return self._servers[row]

    def _start(self, rows: Sequence[int]) -> None:
        """Starts fresh desktops side by side and waits until they have settled."""
        for row in rows:
            if row in self._servers:
                self._servers.pop(row).close()
            self._servers[row] = self._server_class()
            self._busy[row] = 0.0
            self._presses.pop(row, None)
        deadline = time.perf_counter() + START_CAP
        for row in rows:
            try:
                self._servers[row].connect(deadline)
                while self._settle({row: START_CAP}) or not self._servers[row].managed():
                    if time.perf_counter() > deadline or not self._servers[row].alive():
                        raise ServerLost("the window manager did not come up")
                self._servers[row].send(((MOVE, *position(COLUMNS // 2, ROWS // 2)),))  # where an event can point
                self._settle({row: START_CAP})
                self._see(row)
            except ServerLost as error:
                printed = self._servers[row].printed()
                self.close()
                sandbox.start_failed("a desktop", printed or str(error))

    def _send(self, events: Mapping[int, Event]) -> None:
        """Sends one event per row, stroke by stroke, and restarts the desktops that died or hang, or lost a program."""
        caps = {row: BUSY_CAP if self._busy[row] else RUN_CAP for row in events}
        queues = {row: strokes(event, self._servers[row].pointer) for row, event in events.items()}
        lost: dict[int, str] = {}
        late: set[int] = set()
        for turn in range(max(map(len, queues.values()), default=0)):
            waiting = {row: queue[turn] for row, queue in queues.items() if turn < len(queue) and row not in lost}
            for row, stroke in waiting.items():
                try:
                    self._stroke(row, stroke)
                except ServerLost as error:
                    lost[row] = str(error)
            late = (late - waiting.keys()) | self._settle({row: caps[row] for row in waiting.keys() - lost.keys()})
            for row, stroke in waiting.items():
                self._note_press(row, stroke)
        for row in events:
            self._busy[row] = self._busy[row] + caps[row] if row in late else 0.0
            if reason := self._lost(row, lost.get(row, "")):
                _LOGGER.warning("the desktop of row %d was restarted: %s", row, reason)
                self._start([row])
                self._restarted[row] = True

    def _lost(self, row: int, unsent: str) -> str:
        """Looks at a row's screen; returns why its desktop must be restarted, or nothing.

        Args:
            row: which one.
            unsent: why its event could not be sent, or nothing.
        """
        server = self._servers[row]
        if reason := server.crash() or unsent:
            return reason
        if self._busy[row] > HANG_CAP:
            return f"its programs ran on for more than {HANG_CAP:g} s"
        if not server.alive():
            return "all of its programs ended"
        try:
            self._see(row)
        except ServerLost as error:
            return str(error)
        return ""

    def _stroke(self, row: int, stroke: Stroke) -> None:
        """Sends a stroke; a press where another one was waits until the two no longer make a double click.

        The window manager compares places within frames, so two title bars pressed at the same spot make one, too; and
        what was pressed in another frame between, such as its panel, does not count for a program.
        """
        server = self._servers[row]
        if any(kind == BUTTON_PRESS for kind, *_ in stroke):
            frame, place = server.pointed_at()
            presses = self._presses.setdefault(row, {})
            near = [
                moment for last, moment in presses.values()
                if max(map(abs, np.subtract(place, last))) <= DOUBLE_CLICK_DELTA
            ]  # fmt: skip
            time.sleep(max(0.0, max(near, default=0.0) + DOUBLE_CLICK - time.perf_counter()))
            presses[frame] = (place, time.perf_counter())
        server.send(stroke)

    def _note_press(self, row: int, stroke: Stroke) -> None:
        """Counts the time of a press from when it had been taken in."""
        if any(kind == BUTTON_PRESS for kind, *_ in stroke) and self._presses.get(row):
            frame, (place, _) = max(self._presses[row].items(), key=lambda press: press[1][1])
            self._presses[row][frame] = (place, time.perf_counter())

    def _settle(self, caps: Mapping[int, float]) -> set[int]:
        """Waits until each row sleeps, or has run for its cap in processor seconds; returns the rows that still run."""
        pending, late, used = dict(caps), set[int](), dict[int, float]()
        start = time.perf_counter()
        turns = 0
        while True:
            pending = {row: cap for row, cap in pending.items() if not self._servers[row].tree.sleeps()}
            if not pending:
                return late
            waited = time.perf_counter() - start
            if waited > _SAMPLE_AFTER:
                for row in list(pending):
                    seconds = self._servers[row].tree.seconds()
                    if seconds - used.setdefault(row, seconds) > pending[row] or waited > pending[row] + _STARVED_CAP:
                        late.add(row)
                        del pending[row]
            turns += 1
            if turns > _SPINS:
                time.sleep(_NAP)

    def _see(self, row: int) -> None:
        """Notes where the pointer of a row is, and its image; and the pixels, if programs go on changing them."""
        server = self._servers[row]
        server.see()
        self._drawing.pop(row, None)
        if self._busy[row]:
            self._drawing[row] = server.picture()
        same = (i for i, known in enumerate(self.sprites) if known == server.sprite)
        shape = next(same, len(self.sprites))
        if shape == len(self.sprites):
            self.sprites.append(server.sprite)
        self._pointers[row] = (*server.pointer, shape)

    def bare_screens(self) -> NDArray[np.uint8]:
        """Returns a fresh copy of all screens without their pointers, uint8 (N, 240, 320, 3)."""
        screens = np.zeros((self.num_rows, *self.screen_shape), np.uint8)
        for row, server in self._servers.items():
            screens[row] = self._drawing.get(row, server.pixels)[:, :, 2::-1]
        return screens

    def screens(self) -> NDArray[np.uint8]:
        """Returns a fresh copy of all screens, uint8 (N, 240, 320, 3)."""
        screens = self.bare_screens()
        for row in self._servers:
            x, y, shape = self._pointers[row]
            composite(screens[row], self.sprites[shape], x, y)
        return screens

    def pointers(self) -> NDArray[np.int64]:
        """Returns x, y and image (index in ``sprites``) of each pointer, int64 (N, 3)."""
        return self._pointers.copy()

    def windows(self, row: int) -> list[Window]:
        """Returns the windows of a row as the window manager lists them, lowest first.

        Raises:
            RuntimeError: the row has no desktop, or its server died since the last step.
        """
        return self._server(row).windows()

    def seconds(self, row: int) -> float:
        """Returns the processor seconds that a row's programs have used since its reset."""
        return self._server(row).tree.seconds()

    def read_file(self, row: int, name: str) -> bytes:
        """Returns the content of a file in the home of a row.

        Raises:
            RuntimeError: the row has no desktop.
            OSError: its home has no such file.
        """
        return self._server(row).read_file(name)

    def close(self) -> None:
        """Kills all desktops; safe to call twice."""
        while self._servers:
            self._servers.popitem()[1].close()
