"""The processes of a real desktop: what it says when they cannot start, and that none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from nc_gym.machines import desktop_box, sandbox
from nc_gym.machines.desktop import XDesktop
from nc_gym.machines.desktop_events import event

ONE, ZERO = np.ones(1, np.bool_), np.zeros(1, np.int64)


def test_missing_packages_are_named_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = {"/nowhere/Xvfb": "xvfb", "/nowhere/jwm": "jwm", "/usr/bin/env": "coreutils"}
    monkeypatch.setattr(desktop_box, "PACKAGES", missing)
    with pytest.raises(sandbox.SandboxUnavailable, match=r"not installed: apt-get install jwm xvfb$"):
        XDesktop()


def test_server_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desktop_box, "START", (*desktop_box.START[:2], "no-screen"))
    with (
        XDesktop() as machine,
        pytest.raises(sandbox.SandboxUnavailable, match=r"a desktop did not come up .*[Ii]nvalid"),
    ):
        machine.reset(ONE, ZERO, ZERO)


def sandboxes_of(pid: int) -> list[int]:
    """Returns the processes of desktops that descend from ``pid``."""
    listing = subprocess.run(["ps", "-eo", "pid,ppid,comm"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listing.splitlines()[1:]]
    family = {pid}
    for _ in range(8):
        family |= {int(child) for child, parent, _ in rows if int(parent) in family}
    names = ("bwrap", "Xvfb", "jwm", "sh", "xterm", "bash")
    return [int(child) for child, _, name in rows if int(child) in family and name in names]


_PARENT = """
import sys, time
import numpy as np
from nc_gym.machines.desktop import XDesktop
from nc_gym.machines.desktop_events import event
machine = XDesktop(num_rows=2)
machine.reset(np.ones(2, bool), np.zeros(2, np.int64), np.zeros(2, np.int64))
machine.step(np.array([event(56, 230, "left click")] * 2), np.ones(2, bool))
print("up", flush=True)
sys.stdin.readline()
if sys.argv[1] == "raise":
    raise SystemExit("on purpose")
time.sleep(600)
"""


@pytest.mark.parametrize("end", ["kill", "raise"])
def test_nothing_is_left_when_the_parent_is_killed_or_fails(end: str) -> None:
    locks = sorted(Path("/tmp").glob(".X*"))
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, end], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert parent.stdout is not None and parent.stdin is not None
    assert parent.stdout.readline() == b"up\n"
    started = sandboxes_of(parent.pid)
    assert len(started) >= 16  # two each of bwrap x 2, Xvfb, jwm, the sh of xterm, xterm, and bash before and in it
    if end == "kill":
        os.kill(parent.pid, signal.SIGKILL)
    parent.stdin.close()  # lets it go on
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 30
    while (alive := [pid for pid in started if Path(f"/proc/{pid}").exists()]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert alive == [] and sorted(Path("/tmp").glob(".X*")) == locks


def test_close_leaves_no_file_open() -> None:
    """Terminals that were looked at while they opened used to stay open on our side."""
    before = len(os.listdir("/proc/self/fd"))
    with XDesktop() as machine:
        for _ in range(3):
            machine.reset(ONE, ZERO, ZERO)
            for _ in range(3):
                machine.step(np.array([event(56, 228, "left click")]), ONE)  # another xterm
    assert len(os.listdir("/proc/self/fd")) == before


def test_close_leaves_no_process_and_can_be_called_twice() -> None:
    before = sandboxes_of(os.getpid())
    machine = XDesktop(num_rows=2)
    machine.reset(np.ones(2, np.bool_), np.zeros(2, np.int64), np.zeros(2, np.int64))
    started = set(sandboxes_of(os.getpid())) - set(before)
    assert len(started) >= 8  # two each of bwrap x 2, Xvfb, jwm
    machine.close()
    machine.close()
    assert sandboxes_of(os.getpid()) == before
    assert [pid for pid in started if Path(f"/proc/{pid}").exists()] == []  # nor below another parent
