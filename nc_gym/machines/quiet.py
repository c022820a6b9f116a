"""Tells when a sandbox full of programs has settled: every process in it sleeps, and nothing is on its way to one.

Programs that sleep without a pending signal, message or timer do nothing until they get input, so the answer does not
depend on how busy the host is, as a quiet time would. What passes through a pseudo-terminal is pushed on first: the
kernel delivers it in the background, while both of its ends sleep. A program that sleeps on a timer counts as settled.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import select

_PIDFD_GETFD = 438  # the same number on every architecture
_TIOCGPTPEER = 0x5441
_TICKS = os.sysconf("SC_CLK_TCK")
_LIBC = ctypes.CDLL(None, use_errno=True)


class _Terminal:
    """Both ends of a pseudo-terminal that another process holds the master of."""

    def __init__(self, pid: int, number: int) -> None:
        pidfd = os.pidfd_open(pid)
        try:
            self._master = _LIBC.syscall(_PIDFD_GETFD, pidfd, number, 0)
        finally:
            os.close(pidfd)
        if self._master < 0:
            code = ctypes.get_errno()
            raise OSError(code, f"cannot look at the terminal of process {pid}: {os.strerror(code)}")
        try:
            self._slave = fcntl.ioctl(self._master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY)
        except OSError:  # it is still being opened
            os.close(self._master)
            raise
        self._poll = select.poll()
        self._poll.register(self._master, select.POLLIN)
        self._poll.register(self._slave, select.POLLIN)

    def push(self) -> None:
        """Delivers what either end has written; polling an end does that."""
        self._poll.poll(0)

    def close(self) -> None:
        os.close(self._master)
        os.close(self._slave)


class _Process:
    """Files of one process in /proc, kept open."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._files: list[int] = []
        self._terminal: _Terminal | None = None
        try:
            for name in ("status", f"task/{pid}/children"):
                self._files.append(os.open(f"/proc/{pid}/{name}", os.O_RDONLY))
        except OSError:  # it has ended in between
            self.close()
            raise
        self._emulator = False

    def children(self) -> list[int]:
        return [int(child) for child in os.pread(self._files[1], 4096, 0).split()]

    def status(self) -> tuple[bytes, bytes]:
        """Returns the state (a letter) and the lines that count context switches."""
        text = os.pread(self._files[0], 4096, 0)
        self._emulator = text.startswith(b"Name:\txterm\n")
        start = text.index(b"\nState:\t") + 8
        return text[start : start + 1], text[text.index(b"\nvoluntary_ctxt_switches") :]

    def push(self) -> None:
        """Delivers what its terminal has on the way, if it is a terminal emulator with a terminal."""
        if self._terminal is None and self._emulator:
            folder = f"/proc/{self._pid}/fd"
            for number in os.listdir(folder):
                if os.readlink(f"{folder}/{number}").endswith("/ptmx"):
                    self._terminal = _Terminal(self._pid, int(number))
                    break
        if self._terminal is not None:
            self._terminal.push()

    def close(self) -> None:
        for file in self._files:
            os.close(file)
        if self._terminal is not None:
            self._terminal.close()


class ProcessTree:
    """All processes below and including ``pid``.

    Args:
        pid: process id, as the host sees it.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._processes: dict[int, _Process] = {}

    def sleeps(self) -> bool:
        """Tells whether all processes sleep and slept between two looks at each of them."""
        first = self._look()
        return first is not None and first == self._look()

    def seconds(self) -> float:
        """Returns the processor seconds that the tree has used, with those of its ended processes."""
        ticks = 0
        for pid in self._processes:
            try:
                with open(f"/proc/{pid}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            ticks += sum(int(value) for value in fields[11:15])
        return ticks / _TICKS

    def close(self) -> None:
        """Closes the files of all processes."""
        while self._processes:
            self._processes.popitem()[1].close()

    def _look(self) -> list[tuple[int, bytes]] | None:
        """Returns pids and context switches, or None if a process runs."""
        for process in list(self._processes.values()):
            try:
                process.push()
            except OSError:  # it has just ended, or is just opening or closing files
                self._forget_the_dead()
                return None
        pids, look = [self._pid], []
        for pid in pids:
            try:
                if pid not in self._processes:
                    self._processes[pid] = _Process(pid)
                state, switches = self._processes[pid].status()
                pids += self._processes[pid].children()
            except OSError:
                self._forget_the_dead()
                return None
            if state not in b"SIZ":
                return None
            look.append((pid, switches))
        for pid in self._processes.keys() - set(
            pids
        ):  # what sleeps in a terminal must learn that its other end is gone
            self._processes.pop(pid).close()
            return None
        return look

    def _forget_the_dead(self) -> None:
        for pid, process in list(self._processes.items()):
            try:
                process.status()
            except OSError:
                process.close()
                del self._processes[pid]
