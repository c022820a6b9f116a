"""One bash in its own sandbox and pty: keys in, all the output they cause back, without a fixed wait.

The kernel tells when a screen has settled: the terminal's input is consumed, and the foreground program sleeps in a
read of the terminal. All its output is then in the pty. The answer is exact however busy the host is.
"""

from __future__ import annotations

import fcntl
import os
import platform
import select
import signal
import struct
import termios
import time
from collections.abc import Mapping
from contextlib import suppress

from nc_gym.machines import sandbox

OUTPUT_CAP = 32768  # bytes that one settling reads at most; the rest stays in the pty for the next one
START_CAP = 30.0  # seconds in which a shell must come up
_STARVED_CAP = 60.0  # seconds a command that gets no processor may take longer than its cap
_SAMPLE_AFTER = 0.02  # seconds after which the processor time of a command is first looked at
_IDLE_SAMPLES = 3  # looks that must find everything asleep
_SPINS = 40
_NAP = 0.001
_TICKS = os.sysconf("SC_CLK_TCK")
# Numbers of the system calls (read, pselect6) in which a program waits for its terminal.
_SYSCALLS = {"x86_64": (b"0", b"270"), "aarch64": (b"63", b"72")}
BASHRC = rb"""PS1='\[\e[32m\]\W\$\[\e[0m\] '
PS2='> '
unset HISTFILE MAIL MAILCHECK
unset -f command_not_found_handle
shopt -s checkwinsize
alias ls='ls --color=auto'
bind 'set enable-bracketed-paste off'
bind 'set bell-style none'
bind 'set page-completions off'
bind 'set completion-query-items -1'
"""


class Shell:
    """One bash; ``settle`` collects its output.

    Args:
        rows: height of the terminal in characters.
        columns: width of the terminal in characters.

    Attributes:
        pid: process id of bash as the host sees it; -1 until the first settling.
    """

    def __init__(self, rows: int, columns: int) -> None:
        if platform.machine() not in _SYSCALLS:
            raise sandbox.SandboxUnavailable(
                f"real computers run on {' and '.join(_SYSCALLS)} hosts, this one is {platform.machine()!r}"
            )
        self._read_call, self._select_call = _SYSCALLS[platform.machine()]
        self.pid = -1
        self.master, self._slave = os.openpty()
        self._leader, self._state_file, self._call_file = -1, -1, -1
        self._init, self._init_file = -1, -1
        try:
            os.set_blocking(self.master, False)
            fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            argv = ["/usr/bin/bash", "--rcfile", "/etc/bashrc", "-i"]
            self._process = sandbox.spawn(argv, sandbox.Box({"TERM": "linux"}, {"/etc/bashrc": BASHRC}), self._slave)
        except BaseException:
            os.close(self.master)
            os.close(self._slave)
            raise
        self._device = os.fstat(self._slave).st_rdev
        self._input = select.poll()
        self._input.register(self._slave, select.POLLIN)
        self.write(b"")

    def write(self, data: bytes) -> None:
        """Types ``data`` and begins a new wait; what the terminal's queue has no room for is lost, as on a real one."""
        if data:
            self._empty_queue(data)
            with suppress(BlockingIOError):
                os.write(self.master, data)
        self._started, self._looked, self._idle = time.perf_counter(), 0.0, 0
        self._processor: float | None = None

    def _empty_queue(self, data: bytes) -> None:
        """Empties the input queue before a key that sends a signal, as the kernel does just after the signal.

        The kernel (n_tty.c, ``isig``) wakes the reader first and then clears the queue's counters one by one, without
        the lock that poll would need. So readline may be told of input that is not there, and then sleeps in a read
        with the signal noted but not acted on until the next key. Of an empty queue the counters are 0 already.
        """
        with suppress(termios.error):  # the session has hung up
            mode = termios.tcgetattr(self._slave)
            flags, keys = mode[3], [mode[6][key] for key in (termios.VINTR, termios.VQUIT, termios.VSUSP)]
            if flags & termios.ISIG and not flags & termios.NOFLSH and data in keys:
                termios.tcflush(self._slave, termios.TCIFLUSH)

    def read(self, size: int) -> bytes:
        """Returns the output that is there, at most ``size`` bytes, without waiting."""
        chunks: list[bytes] = []
        try:
            while size > 0:
                chunks.append(os.read(self.master, size))
                size -= len(chunks[-1])
        except BlockingIOError:
            pass
        return b"".join(chunks)

    def waits_for_input(self) -> bool:
        """Tells whether all input is consumed and the foreground program sleeps in a read of the terminal.

        Polling the slave side first pushes what was written through the kernel's queues, so that a program which has
        input (or a Ctrl-C) to work on no longer looks asleep.
        """
        if self._input.poll(0):
            return False
        leader = os.tcgetpgrp(self.master)
        if leader <= 0:  # the session has not taken its terminal yet
            return False
        try:
            if leader != self._leader:
                self._watch(leader)
            # The state comes first: what a signal has just woken is running there, but not yet in its system call.
            if os.pread(self._state_file, 512, 0).rpartition(b")")[2][1:2] != b"S":
                return False
            call = os.pread(self._call_file, 256, 0).split()
            if call[0] == self._select_call:
                waits = call[1] == b"0x1" and call[5] == b"0x0"  # on descriptor 0 alone, for ever
            elif call[0] == self._read_call:
                waits = os.stat(f"/proc/{leader}/fd/{int(call[1], 16)}").st_rdev == self._device
            else:
                waits = False
            return waits and (self.pid in (-1, leader) or self._sleeps())
        except (FileNotFoundError, ProcessLookupError, PermissionError):  # a process ends or begins just now
            self._watch(-1)
        return False

    def _sleeps(self) -> bool:
        """Tells whether every process in the sandbox sleeps: in a pipeline, one that waits for input is not enough.

        Two looks with the same counts of context switches mean that none of them ran in between.
        """
        looks = []
        for _ in range(2):
            pids, look = [self._init], []
            for pid in pids:
                pids += map(int, _lines(pid, f"task/{pid}/children")[0].split())
                status = _lines(pid, "status")
                if any(line.startswith(("State:\tR", "State:\tD")) for line in status):
                    return False
                look.append((pid, *status[-3:]))
            looks.append(look)
        return looks[0] == looks[1]

    def _watch(self, leader: int) -> None:
        """Opens the files that tell what the foreground group's leader does; -1 only closes them."""
        for file in (self._state_file, self._call_file):
            if file >= 0:
                os.close(file)
        self._leader, self._state_file, self._call_file = -1, -1, -1
        if leader > 0:
            self._state_file = os.open(f"/proc/{leader}/stat", os.O_RDONLY)
            self._call_file = os.open(f"/proc/{leader}/syscall", os.O_RDONLY)
            self._leader = leader

    def started(self) -> None:
        """Notes the processes of the sandbox, once bash waits for input."""
        self.pid = self._leader
        self._init = int(_stat(self.pid)[1])
        self._init_file = os.pidfd_open(self._init)

    def alive(self) -> bool:
        """Tells whether bash still runs."""
        return self._process.poll() is None

    def overdue(self, cap: float) -> bool:
        """Tells whether a wait is over its cap: ``cap`` seconds have passed, and the command had its chance.

        A command that is runnable but starved by other work on the host gets more time, until it has used ``cap``
        seconds of processor time.
        """
        now = time.perf_counter()
        waited = now - self._started
        if waited < _SAMPLE_AFTER or now - self._looked < min(cap, _SAMPLE_AFTER):
            return False
        if self._processor is not None and waited < cap:
            return False
        self._looked = now
        used, runnable = self._activity()
        if self._processor is None:
            self._processor = used
            return False
        self._idle = 0 if runnable else self._idle + 1
        return used - self._processor >= cap or self._idle >= _IDLE_SAMPLES or waited > cap + _STARVED_CAP

    def _activity(self) -> tuple[float, bool]:
        """Returns the processor seconds of this terminal's session, and whether any of its processes could run."""
        session, ticks, runnable = str(self._process.pid), 0, False
        for name in os.listdir("/proc"):
            if name.isdecimal():
                try:
                    fields = _stat(int(name))
                except OSError:
                    continue
                if fields[3] == session:
                    ticks += sum(int(value) for value in fields[11:15])
                    runnable = runnable or fields[0] in "RD"
        return ticks / _TICKS, runnable

    def run(self, argv: list[str], timeout: float = 10.0) -> str:
        """Runs a program beside bash, in the home, and returns what it printed."""
        return sandbox.run(self.pid, argv, timeout)

    def close(self) -> None:
        """Kills everything in the sandbox and waits until it is gone."""
        self._watch(-1)
        if self._init_file >= 0:  # the end of its first process ends the sandbox, and bwrap itself after it
            with suppress(ProcessLookupError):  # it may have died just now
                signal.pidfd_send_signal(self._init_file, signal.SIGKILL)
            os.close(self._init_file)
        else:
            self._process.kill()
        self._process.wait()
        os.close(self.master)
        os.close(self._slave)


def _lines(pid: int, name: str) -> list[str]:
    """Returns the lines of /proc/PID/NAME, with an empty one at the end."""
    with open(f"/proc/{pid}/{name}", encoding="latin-1") as file:
        return file.read().split("\n")


def _stat(pid: int) -> list[str]:
    """Returns the fields of /proc/PID/stat from the third on: state, parent, group, session, ..."""
    return _lines(pid, "stat")[0].rpartition(")")[2].split()


def settle(shells: Mapping[int, Shell], caps: Mapping[int, float]) -> tuple[dict[int, bytes], set[int]]:
    """Waits until each shell waits for input, or is dead, or has reached its time cap or ``OUTPUT_CAP``.

    Args:
        shells: the shells by row.
        caps: seconds to wait at most, by row.

    Returns:
        The output of each row, and the rows that do not wait for input.
    """
    output = {row: bytearray() for row in shells}
    pending = dict(shells)
    late: set[int] = set()
    turns = 0
    while True:
        for row, shell in list(pending.items()):
            done = shell.waits_for_input()
            output[row] += shell.read(OUTPUT_CAP - len(output[row]))
            full = len(output[row]) == OUTPUT_CAP
            if full or (not done and ((turns % 20 == 19 and not shell.alive()) or shell.overdue(caps[row]))):
                late.add(row)
            elif not done:
                continue
            del pending[row]
        if not pending:
            return {row: bytes(data) for row, data in output.items()}, late
        turns += 1
        if turns < _SPINS:
            os.sched_yield()
        else:
            waiting = select.poll()  # select takes no file numbers above 1,023
            for shell in pending.values():
                waiting.register(shell.master, select.POLLIN)
            waiting.poll(1000 * _NAP)
