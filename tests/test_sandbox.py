"""Nothing that is typed into a real terminal touches the host: every attack goes through the keyboard."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nc_gym.machines import sandbox
from nc_gym.machines.keys import KEY_INDEX, encode
from nc_gym.machines.terminal import HANG_CAP, BashTerminal

ONE = np.ones(1, np.bool_)
ZERO = np.zeros(1, np.int64)


@pytest.fixture
def machine() -> Iterator[BashTerminal]:
    with BashTerminal() as terminal:
        terminal.reset(ONE, ZERO, ZERO)
        yield terminal


def type_text(machine: BashTerminal, text: str) -> bool:
    """Types a text; tells whether the shell was restarted on the way."""
    restarted = False
    for event in encode(text):
        machine.step(np.array([event]), ONE)
        restarted |= bool(machine.restarted()[0])
    return restarted


def text_of(machine: BashTerminal) -> str:
    return "\n".join(bytes(row).decode().rstrip() for row in machine.chars()[0]).rstrip()


def press(machine: BashTerminal, key: str) -> None:
    machine.step(np.array([KEY_INDEX[key]]), ONE)


def assert_works(machine: BashTerminal) -> None:
    """The machine answers, at the latest after a reset."""
    machine.reset(ONE, ZERO, ZERO)
    type_text(machine, "echo al''ive\n")
    assert text_of(machine) == "~$ echo al''ive\nalive\n~$"


def test_rm_of_everything_leaves_the_host_alone(machine: BashTerminal, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    programs = sorted(os.listdir("/usr/bin"))
    type_text(machine, "touch gone; rm -rf --no-preserve-root ~/* /tmp/* /home /usr/bin / 2>&1 | tail -n 1\n")
    for _ in range(3):
        press(machine, "noop")
    assert machine.run(0, ["ls", "-A"]) == ""  # the attack was real: the sandbox's own files are gone
    assert (tmp_path / "precious").read_text() == "x"
    assert sorted(os.listdir("/usr/bin")) == programs
    assert_works(machine)


def test_system_is_read_only(machine: BashTerminal) -> None:
    places = "for d in / /usr /usr/bin /etc /dev /home /tmp ~; do touch $d/x 2>/dev/null && echo $d; done; true"
    assert machine.run(0, ["bash", "-c", places]).split() == ["/tmp", "/home/user"]
    type_text(machine, "clear; touch /tmp/x ~/y && echo mine\n")
    assert text_of(machine) == "mine\n~$"
    assert "Read-only file system" in machine.run(0, ["bash", "-c", "touch /usr/x /x /etc/x /dev/x 2>&1; true"])


def test_host_files_are_not_there(machine: BashTerminal, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    places = ["/root", "/work", "/etc/shadow", "/etc/hostname", "/var", "/sys", "/run", str(secret), str(Path.home())]
    for place in {*places, str(Path(__file__).resolve())}:
        assert machine.run(0, ["bash", "-c", f"test -e '{place}' || echo none"]) == "none\n", place
    assert machine.run(0, ["ls", "-A", "/home"]) == "user\n"
    assert "hidden" not in machine.run(0, ["bash", "-c", f"cat {secret} 2>&1; true"])


def test_environment_of_the_host_is_not_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    with BashTerminal() as machine:
        machine.reset(ONE, ZERO, ZERO)
        type_text(machine, 'cat /proc/*/environ | tr "\\0" "\\n" > all; env >> all; set >> all; clear\n')
        seen = machine.run(0, ["cat", "all"])
    assert "HOME=/home/user" in seen and "hunter2" not in seen


def test_fork_bomb_is_contained_and_the_machine_comes_back(machine: BashTerminal) -> None:
    type_text(machine, ":(){ :|:& };:\n")
    session = machine._shells[0]._process.pid
    most = 0
    for _ in range(10):
        press(machine, "noop")
        most = max(most, len(_session_members(session)))
    assert 3 < most <= sandbox.LIMITS["nproc"] + 3  # it did multiply, up to the limit (plus bwrap's own two)
    assert_works(machine)
    assert _session_members(session) == []


def _session_members(session: int) -> list[int]:
    members = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            members.append(int(name))
    return members


def test_disk_cannot_be_filled(machine: BashTerminal) -> None:
    free = shutil.disk_usage("/").free
    type_text(machine, "for i in 1 2 3 4 5 6 7 8; do head -c 16M /dev/zero > f$i; done; cat /dev/zero > /tmp/z\n")
    for _ in range(20):
        press(machine, "noop")
    largest = machine.run(0, ["bash", "-c", "stat -c %s f1"])
    assert int(largest) == sandbox.LIMITS["fsize"]
    used = int(machine.run(0, ["du", "-sb", "."]).split()[0])
    assert sandbox.HOME_BYTES // 2 < used <= sandbox.HOME_BYTES + 4096
    assert int(machine.run(0, ["stat", "-c", "%s", "/tmp/z"])) <= sandbox.TMP_BYTES
    assert abs(free - shutil.disk_usage("/").free) < 1 << 30
    assert_works(machine)


def test_memory_is_limited(machine: BashTerminal) -> None:
    restarted = type_text(machine, 'x=$(head -c 300M /dev/zero | tr "\\0" a); echo "got ${#x}"\n')
    for _ in range(50):
        press(machine, "noop")
        restarted |= bool(machine.restarted()[0])
    assert restarted or "cannot allocate" in text_of(machine)  # bash gives up, or at least the variable
    assert "got 3" not in text_of(machine)
    assert_works(machine)


def test_no_connection_reaches_the_host(machine: BashTerminal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):  # the server does listen
            server.accept()[0].close()
        type_text(machine, f"echo hi > /dev/tcp/127.0.0.1/{port}\n")
        assert "Connection refused" in text_of(machine).replace("\n", " ")
        with pytest.raises(TimeoutError):
            server.accept()
    assert machine.run(0, ["bash", "-c", "tail -n +3 /proc/net/dev | cut -d: -f1"]).split() == ["lo"]


def test_processes_outside_cannot_be_seen_or_killed(machine: BashTerminal) -> None:
    user = sandbox._host_user()
    with subprocess.Popen(["sleep", "60"], user=user) as bystander:  # the very user id that the sandbox has outside
        assert bystander.poll() is None
        type_text(machine, f"kill -9 {bystander.pid} {os.getpid()}; kill -9 -1; kill -9 1; pkill -9 sleep\n")
        press(machine, "noop")
        assert bystander.poll() is None
        seen = machine.run(0, ["bash", "-c", "cd /proc; echo [0-9]*"]).split()
        assert len(seen) <= 6 and str(bystander.pid) not in seen
        bystander.kill()
    assert_works(machine)


def test_endless_command_is_shown_as_it_runs_and_ctrl_c_ends_it(machine: BashTerminal) -> None:
    start = time.perf_counter()
    type_text(machine, "while :; do :; done\n")
    assert time.perf_counter() - start < 60
    press(machine, "Ctrl-C")
    assert text_of(machine) == "~$ while :; do :; done\n^C\n~$"
    assert not machine.restarted().any()


def test_ctrl_c_ends_a_program_though_the_host_process_ignores_interrupts() -> None:
    """A process that a script starts with `&` ignores SIGINT, and hands that on to all it starts."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with BashTerminal() as machine:
            machine.reset(ONE, ZERO, ZERO)
            type_text(machine, "cat\n")
            press(machine, "Ctrl-C")
            assert text_of(machine) == "~$ cat\n^C\n~$"
    finally:
        signal.signal(signal.SIGINT, before)


def test_shell_that_ignores_everything_is_restarted_and_reported(
    machine: BashTerminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nc_gym.machines.terminal.HANG_CAP", HANG_CAP / 10)
    type_text(machine, "echo x > file; trap '' INT; while :; do sleep 0.01; done\n")
    reports = []
    for _ in range(40):
        press(machine, "Ctrl-C")
        reports.append(bool(machine.restarted()[0]))
    assert reports.count(True) == 1
    assert text_of(machine).startswith("~$") and machine.run(0, ["ls"]) == ""


def test_user_is_ordinary_and_gains_no_rights(machine: BashTerminal) -> None:
    assert machine.run(0, ["id", "-u"]) == "1000\n"
    type_text(machine, "grep -E 'CapEff|NoNewPrivs' /proc/$$/status; cd /; cd; ulimit -u\n")
    assert "CapEff: 0000000000000000\nNoNewPrivs:     1\n32\n" in text_of(machine)


def test_kernel_is_reached_only_through_ordinary_calls(machine: BashTerminal) -> None:
    for probe in ("unshare --user id", "unshare --mount id", "dmesg", "ipcmk -M 4096", "ipcmk -Q"):
        assert shutil.which(probe.split()[0])
        type_text(machine, f"clear; {probe} > out 2>&1; echo \"status $?\"; tail -n 1 out | grep -c 'not permitted'\n")
        assert text_of(machine) == "status 1\n1\n~$", probe
    type_text(machine, "clear; cat /proc/cmdline /proc/kallsyms /proc/modules 2> out | wc -c\n")
    assert text_of(machine) == "0\n~$"
    type_text(machine, "clear; (echo sub | cat) & wait; ls /proc/1 | head -n 1\n")  # forking still works
    assert "sub\n" in text_of(machine)


def test_death_of_the_host_process_ends_the_sandbox() -> None:
    code = textwrap.dedent(
        """
        import sys, time, numpy as np
        from nc_gym.machines.keys import encode
        from nc_gym.machines.terminal import BashTerminal
        one, zero = np.ones(1, bool), np.zeros(1, int)
        machine = BashTerminal(boots=[encode("nohup sleep 1000 &\\n")])
        machine.reset(one, zero, zero)
        print(machine._shells[0]._process.pid, flush=True)
        time.sleep(1000)
        """
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        session = int(process.stdout.readline())
        assert len(_session_members(session)) >= 4  # bwrap twice, bash, sleep
        process.send_signal(signal.SIGKILL)
    deadline = time.perf_counter() + 30
    while (left := _running(session)) and time.perf_counter() < deadline:
        time.sleep(0.05)
    assert left == []


def _running(session: int) -> list[int]:
    running = []
    for pid in _session_members(session):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                running.append(pid)
        except OSError:
            continue
    return running


def test_missing_bubblewrap_is_one_sentence_with_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("setsid", "prlimit"):
        path = shutil.which(name)
        assert path is not None
        (tmp_path / name).symlink_to(path)
    monkeypatch.setenv("PATH", str(tmp_path))
    files = len(os.listdir("/proc/self/fd"))
    with BashTerminal() as machine:
        with pytest.raises(sandbox.SandboxUnavailable, match=r"'bwrap' was not found: apt-get install bubblewrap$"):
            machine.reset(ONE, ZERO, ZERO)
    assert len(os.listdir("/proc/self/fd")) == files


def test_forbidden_user_namespaces_are_named() -> None:
    """In a user namespace of our own, whose limit of further ones is 0, bubblewrap fails as on a locked-down host."""
    code = textwrap.dedent(
        """
        import numpy as np
        from nc_gym.machines.sandbox import SandboxUnavailable
        from nc_gym.machines.terminal import BashTerminal
        try:
            BashTerminal().reset(np.ones(1, bool), np.zeros(1, int), np.zeros(1, int))
        except SandboxUnavailable as error:
            print("CAUGHT", error)
        """
    )
    script = f"echo 0 > /proc/sys/user/max_user_namespaces && exec {sys.executable} -c '{code}'"
    result = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", script], capture_output=True, text=True, timeout=60
    )
    assert result.stdout.startswith("CAUGHT bubblewrap may not create user namespaces here"), result
    assert "max_user_namespaces" in result.stdout


def test_audit_command_that_fails_raises_with_its_output(machine: BashTerminal) -> None:
    with pytest.raises(RuntimeError, match="No such file"):
        machine.run(0, ["cat", "absent"])
