"""The real terminal: bash in a pty, in a sandbox, emulated by pyte and drawn with a bitmap font.

A step sends one key and waits until the screen has settled, without sleeping for a fixed time: the kernel says when the
foreground program has consumed its input and sleeps in a read of the terminal, and then all its output is there.
"""

from __future__ import annotations

import fcntl
import os
import platform
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Sequence

import numpy as np
import pyte
from numpy.typing import NDArray

from nc_gym.machines import font, sandbox
from nc_gym.machines.font import CELL_HEIGHT, CELL_WIDTH
from nc_gym.machines.keys import KEY_BYTES, KEYS

ROWS = 12
COLUMNS = 40
RUN_CAP = 0.5  # seconds a step waits for a command that runs on
BUSY_CAP = 0.1  # seconds a later step waits while that command still runs
HANG_CAP = 10.0  # seconds of such waiting after which the shell counts as hung
START_CAP = 30.0

ENVIRONMENT = {
    "HOME": sandbox.HOME, "USER": "user", "LOGNAME": "user", "PATH": "/usr/bin:/bin", "SHELL": "/bin/bash",
    "TERM": "linux", "LC_ALL": "C", "LANG": "C",
}  # fmt: skip
BASHRC = rb"""PS1='\[\e[32m\]\W\$\[\e[0m\] '
PS2='> '
unset HISTFILE MAIL MAILCHECK
unset -f command_not_found_handle 2>/dev/null
alias ls='ls --color=auto'
bind 'set enable-bracketed-paste off' 'set bell-style none' 'set page-completions off'
bind 'set completion-query-items -1' 'set completion-display-width -1' 'set colored-stats off'
shopt -s checkwinsize
"""
# Numbers of the system calls (read, pselect6) in which a program waits for its terminal.
_SYSCALLS = {"x86_64": (b"0", b"270"), "aarch64": (b"63", b"72")}


class Shell:
    """One bash in its own sandbox and pty: bytes in, settled bytes out.

    Attributes:
        pid: process id (outside) of bash.
    """

    def __init__(self) -> None:
        self._read_call, self._select_call = _SYSCALLS[platform.machine()]
        self.master, self._slave = os.openpty()
        os.set_blocking(self.master, False)
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self._device = os.fstat(self._slave).st_rdev
        self._poll = select.poll()
        self._poll.register(self._slave, select.POLLIN)
        argv = ["/usr/bin/bash", "--rcfile", "/etc/bashrc", "-i"]
        self._process = sandbox.spawn(argv, ENVIRONMENT, {"/etc/bashrc": BASHRC}, self._slave)
        self._leader = -1
        self._leader_fd = -1

    def write(self, data: bytes) -> None:
        """Types ``data``; what does not fit into the terminal's queue is lost, as on a real one."""
        if data:
            try:
                os.write(self.master, data)
            except BlockingIOError:
                pass

    def read(self) -> bytes:
        """Returns all output that is there, without waiting."""
        chunks = []
        try:
            while True:
                chunks.append(os.read(self.master, 65536))
        except BlockingIOError:
            return b"".join(chunks)

    def waits_for_input(self) -> bool:
        """Tells whether all input is consumed and the foreground program sleeps in a read of the terminal.

        Polling the slave side pushes what was written through the kernel's queues first, so that a program that has
        input (or a Ctrl-C) to work on can not look asleep.
        """
        if self._poll.poll(0):
            return False
        leader = os.tcgetpgrp(self.master)
        try:
            if leader != self._leader:
                self._forget_leader()
                self._leader_fd = os.open(f"/proc/{leader}/syscall", os.O_RDONLY)
                self._leader = leader
            call = os.pread(self._leader_fd, 256, 0).split()
        except (FileNotFoundError, ProcessLookupError):
            return False
        if call[0] == self._select_call:
            return call[1] == b"0x1" and call[5] == b"0x0"
        if call[0] == self._read_call:
            try:
                return os.stat(f"/proc/{leader}/fd/{int(call[1], 16)}").st_rdev == self._device
            except OSError:
                return False
        return False

    def alive(self) -> bool:
        """Tells whether the shell still runs."""
        return self._process.poll() is None

    def _forget_leader(self) -> None:
        if self._leader_fd >= 0:
            os.close(self._leader_fd)
        self._leader = self._leader_fd = -1

    def close(self) -> None:
        """Kills everything in the sandbox and waits until it is gone."""
        self._forget_leader()
        self._process.kill()
        self._process.wait()
        os.close(self.master)
        os.close(self._slave)


def settle(shells: dict[int, Shell], caps: dict[int, float]) -> tuple[dict[int, bytes], set[int]]:
    """Waits until each shell waits for input or its cap is over.

    Args:
        shells: the shells by row.
        caps: seconds to wait at most, by row.

    Returns:
        Output of each row, and the rows that ran into their cap or died.
    """
    output = {row: [] for row in shells}
    pending = dict(shells)
    start = time.perf_counter()
    spins = 0
    late: set[int] = set()
    while pending:
        for row, shell in list(pending.items()):
            done = shell.waits_for_input()
            data = shell.read()
            if data:
                output[row].append(data)
            if not done and time.perf_counter() - start > caps[row] or (spins % 50 == 49 and not shell.alive()):
                late.add(row)
                done = True
            if done:
                del pending[row]
        spins += 1
        if not pending:
            break
        if spins < 40:
            os.sched_yield()
        else:
            select.select([s.master for s in pending.values()], [], [], 0.0005)
    return {row: b"".join(chunks) for row, chunks in output.items()}, late


class _Display:
    """A pyte screen and its pixels, redrawn where they changed."""

    def __init__(self, tiles: dict[tuple[pyte.screens.Char, bool], NDArray[np.uint8]]) -> None:
        self._tiles = tiles
        self.screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self.screen)
        self._cells: list[list[pyte.screens.Char | None]] = [[None] * COLUMNS for _ in range(ROWS)]
        self._cursor = (0, 0)
        self._pixels = np.zeros((ROWS * CELL_HEIGHT, COLUMNS * CELL_WIDTH, 3), np.uint8)

    def feed(self, data: bytes) -> None:
        self._stream.feed(data)

    def cursor(self) -> tuple[int, int]:
        cursor = self.screen.cursor
        return cursor.y, min(cursor.x, COLUMNS - 1)

    def pixels(self) -> NDArray[np.uint8]:
        """Returns the screen's pixels, uint8 (192, 320, 3): a buffer that the next call overwrites."""
        old, new = self._cursor, self.cursor()
        if old != new:
            self._cells[old[0]][old[1]] = None
            self._cells[new[0]][new[1]] = None
            self._cursor = new
        for row in self.screen.dirty | {old[0], new[0]}:
            line, shown = self.screen.buffer[row], self._cells[row]
            for column in range(COLUMNS):
                cell = line[column]
                if cell is not shown[column] and cell != shown[column]:
                    shown[column] = cell
                    top, left = row * CELL_HEIGHT, column * CELL_WIDTH
                    tile = self._tile(cell, (row, column) == new)
                    self._pixels[top : top + CELL_HEIGHT, left : left + CELL_WIDTH] = tile
        self.screen.dirty.clear()
        return self._pixels

    def _tile(self, cell: pyte.screens.Char, cursor: bool) -> NDArray[np.uint8]:
        tile = self._tiles.get((cell, cursor))
        if tile is None:
            foreground = font.color(cell.fg, cell.bold, font.FOREGROUND)
            background = font.color(cell.bg, False, font.BACKGROUND)
            if cell.reverse != cursor:
                foreground, background = background, foreground
            tile = font.draw(font.glyph_index(cell.data), foreground, background)
            self._tiles[cell, cursor] = tile
        return tile

    def chars(self) -> NDArray[np.uint8]:
        """Returns the character codes, uint8 (12, 40); 127 stands for anything but printable ASCII."""
        lines = [self.screen.buffer[row] for row in range(ROWS)]
        text = [[font.glyph_index(line[x].data) for x in range(COLUMNS)] for line in lines]
        return (np.array(text) + font.FIRST_CHAR).astype(np.uint8)


class BashTerminal:
    """N real terminals. Implements the ``Machine`` protocol.

    Args:
        num_rows: how many terminals.
        boots: per boot the events replayed into a fresh shell in an empty home.
    """

    screen_shape = (ROWS * CELL_HEIGHT, COLUMNS * CELL_WIDTH, 3)

    def __init__(self, num_rows: int = 1, boots: Sequence[Sequence[int]] = ((),)) -> None:
        self.num_rows = num_rows
        self._boots = [list(boot) for boot in boots]
        self._tiles: dict[tuple[pyte.screens.Char, bool], NDArray[np.uint8]] = {}
        self._shells: dict[int, Shell] = {}
        self._displays = [_Display(self._tiles) for _ in range(num_rows)]
        self._busy = [0.0] * num_rows
        self._restarted = np.zeros(num_rows, np.bool_)
        self._output = [b""] * num_rows

    def reset(self, rows: NDArray[np.bool_], seeds: NDArray[np.int64], boots: NDArray[np.int64]) -> None:
        """Gives the chosen rows a fresh shell in an empty home and replays their boot. ``seeds`` is not read: bash has no dice."""
        chosen = [int(row) for row in np.flatnonzero(rows)]
        self._restarted[chosen] = False
        self._start(chosen)
        todo = {row: list(self._boots[int(boots[row])]) for row in chosen}
        while any(todo.values()):
            self._send({row: events.pop(0) for row, events in todo.items() if events}, keep=True)

    def step(self, events: NDArray[np.int64], rows: NDArray[np.bool_]) -> None:
        """Types one key in each chosen row and waits for the settled screens (see ``RUN_CAP``)."""
        chosen = [int(row) for row in np.flatnonzero(rows)]
        self._restarted[:] = False
        self._output = [b""] * self.num_rows
        self._send({row: int(events[row]) for row in chosen}, keep=False)

    def _start(self, rows: list[int]) -> None:
        for row in rows:
            if row in self._shells:
                self._shells.pop(row).close()
            self._shells[row] = Shell()
            self._displays[row] = _Display(self._tiles)
            self._busy[row] = 0.0
        output, late = settle({row: self._shells[row] for row in rows}, dict.fromkeys(rows, START_CAP))
        for row in rows:
            self._output[row] = output[row]
            self._displays[row].feed(output[row])
        if late:
            text = b"".join(output[row] for row in sorted(late)).decode(errors="replace").strip()
            self.close()
            raise sandbox.SandboxUnavailable(f"bash did not start in its bubblewrap sandbox: {text or 'no output'}")

    def _send(self, events: dict[int, int], keep: bool) -> None:
        for row, event in events.items():
            self._shells[row].write(KEY_BYTES[event])
        caps = {row: BUSY_CAP if self._busy[row] else RUN_CAP for row in events}
        output, late = settle({row: self._shells[row] for row in events}, caps)
        dead = []
        for row, data in output.items():
            self._output[row] = self._output[row] + data if keep else data
            self._displays[row].feed(data)
            self._busy[row] = self._busy[row] + caps[row] if row in late else 0.0
            if row in late and (self._busy[row] > HANG_CAP or not self._shells[row].alive()):
                dead.append(row)
        if dead:
            self._start(dead)
            self._restarted[dead] = True

    def screens(self) -> NDArray[np.uint8]:
        """Returns a fresh copy of all screens, uint8 (N, 192, 320, 3)."""
        return np.stack([display.pixels() for display in self._displays])

    def chars(self) -> NDArray[np.uint8]:
        """Returns what pyte shows as character codes, uint8 (N, 12, 40); 127 for anything but printable ASCII."""
        return np.stack([display.chars() for display in self._displays])

    def cursors(self) -> NDArray[np.int64]:
        """Returns row and column of each cursor, int64 (N, 2)."""
        return np.array([display.cursor() for display in self._displays], np.int64)

    def restarted(self) -> NDArray[np.bool_]:
        """Tells which shells died or hung and were restarted during the last step, bool (N,)."""
        return self._restarted.copy()

    def output(self) -> list[bytes]:
        """Returns the raw bytes that each row's pty produced during the last step or reset."""
        return list(self._output)

    def close(self) -> None:
        """Kills all shells; safe to call twice."""
        while self._shells:
            self._shells.popitem()[1].close()

    def __enter__(self) -> BashTerminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
