"""The sandbox of the real computers: bubblewrap, with nothing of the host inside but its programs, read-only.

No network, own user, pid, mount, ipc and uts namespaces, private home and /tmp in memory, limits on processes, memory,
file size and processor time, a filter on system calls. There is no unsandboxed fallback.

What it does not limit: the sum of memory over all processes (at most ``nproc`` times ``as``), and the number of empty
files in the home, which the host's memory holds. The process limit needs Linux 5.14 or newer. The host's kernel version
and load can be read in /proc.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from nc_gym.machines import seccomp

HOME = "/home/user"
HOME_BYTES = 8 << 20
TMP_BYTES = 4 << 20
LIMITS = {"nproc": 32, "as": 128 << 20, "fsize": 4 << 20, "cpu": 60, "core": 0, "nofile": 256}
"""Limits inside, in the units of ``prlimit``: ``nproc`` counts the whole sandbox, the others hold for each process."""
ENVIRONMENT = {
    "HOME": HOME, "USER": "user", "LOGNAME": "user", "SHELL": "/bin/bash", "PATH": "/usr/bin:/bin",
    "LANG": "C", "LC_ALL": "C",
}  # fmt: skip
_HOST_ID = 61000  # what root becomes before it enters: the kernel puts no process limit on root
_SYSTEM_DIRS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_SYSTEM_FILES = ("/etc/alternatives", "/etc/ld.so.cache")
_HIDDEN = ("cmdline", "kallsyms", "kcore", "key-users", "keys", "modules", "sched_debug", "timer_list")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_IDENTITY = {"/etc/passwd": b"user:x:1000:1000::/home/user:/bin/bash\n", "/etc/group": b"user:x:1000:\n"}
_PACKAGES = {
    "bwrap": "bubblewrap", "setsid": "util-linux", "nsenter": "util-linux", "prlimit": "util-linux", "env": "coreutils",
}  # fmt: skip


class SandboxUnavailable(RuntimeError):
    """Real computers cannot run here, because their sandbox cannot."""


@dataclass(frozen=True)
class Box:
    """What a sandbox holds beside the system's programs.

    Attributes:
        environment: variables on top of ``ENVIRONMENT``.
        files: read-only files: path -> content, at most 64 kB each.
        system_files: files and folders of the host to show read-only beside its programs.
        limits: limits of every process, as ``LIMITS``.
        terminals: give it pseudo-terminals of its own (/dev/pts).
    """

    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    system_files: Sequence[str] = ()
    limits: Mapping[str, int] = field(default_factory=lambda: LIMITS)
    terminals: bool = False


def _host_user() -> int | None:
    """Returns the user id that root takes on before it enters a sandbox; None to stay who one is."""
    if os.geteuid() != 0:
        return None
    with open("/proc/self/uid_map", encoding="ascii") as file:
        ranges = [[int(field) for field in line.split()] for line in file]
    return _HOST_ID if any(first <= _HOST_ID < first + count for first, _, count in ranges) else None


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        package = _PACKAGES[name]
        raise SandboxUnavailable(
            f"real computers run in a bubblewrap sandbox, but {name!r} was not found: apt-get install {package}"
        )
    return path


def start_failed(what: str, text: str) -> NoReturn:
    """Raises the error for a sandbox in which ``what`` did not come up; ``text`` is what it printed."""
    if "namespace" in text or "uid map" in text or "not permitted" in text.lower():
        raise SandboxUnavailable(
            f"bubblewrap may not create user namespaces here ({text!r}): allow them (sysctl user.max_user_namespaces, "
            "kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns; docker run --privileged)"
        )
    raise SandboxUnavailable(f"{what} did not come up in its bubblewrap sandbox; it printed {text!r}")


def _system_arguments(files: Sequence[str]) -> list[str]:
    """Returns the bwrap arguments that show the system and ``files`` read-only, with or without a merged /usr."""
    arguments = ["--ro-bind", "/usr", "/usr"]
    for path in (f"/{name}" for name in _SYSTEM_DIRS):
        if os.path.islink(path):
            arguments += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            arguments += ["--ro-bind", path, path]
    for path in (*_SYSTEM_FILES, *files):
        if os.path.exists(path):
            arguments += ["--ro-bind", path, path]
    return arguments


def _device_arguments(terminals: bool) -> list[str]:
    """Returns the bwrap arguments for a /dev without shared memory, with pseudo-terminals of its own or none."""
    if terminals:
        return ["--dev", "/dev"]  # its /dev/shm is a plain folder, read-only once /dev is remounted
    arguments = ["--tmpfs", "/dev", "--symlink", "/proc/self/fd", "/dev/fd"]
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        arguments += ["--symlink", f"/proc/self/fd/{number}", f"/dev/{name}"]
    for name in _DEVICES:
        arguments += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
    return arguments


def _proc_arguments() -> list[str]:
    """Returns the bwrap arguments for a /proc of the sandbox's own processes, without files about the host's kernel."""
    arguments = ["--proc", "/proc"]
    for path in (f"/proc/{name}" for name in _HIDDEN):
        if os.path.exists(path):
            arguments += ["--ro-bind", "/dev/null", path]
    return arguments


def limited(argv: Sequence[str], limits: Mapping[str, int] = LIMITS) -> list[str]:
    """Returns the command that runs ``argv`` under ``limits``."""
    return [_program("prlimit"), *(f"--{name}={value}" for name, value in limits.items()), *argv]


def command(argv: Sequence[str], box: Box, data: Mapping[str, int], filter_file: int) -> list[str]:
    """Returns the command that runs ``argv`` in a fresh sandbox.

    Args:
        argv: program and arguments, as seen inside.
        box: what the sandbox holds.
        data: read-only files inside: path -> file descriptor that bwrap reads the content from.
        filter_file: file descriptor that bwrap reads the system-call filter from.

    Raises:
        SandboxUnavailable: bubblewrap is not installed.
    """
    arguments = [_program("bwrap"), "--die-with-parent", "--unshare-user", "--unshare-pid", "--unshare-net"]
    arguments += ["--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--hostname", "computer"]
    arguments += ["--uid", "1000", "--gid", "1000", *_system_arguments(box.system_files)]
    arguments += [*_device_arguments(box.terminals), *_proc_arguments()]
    arguments += ["--size", str(HOME_BYTES), "--tmpfs", HOME, "--size", str(TMP_BYTES), "--tmpfs", "/tmp"]
    for path, descriptor in data.items():
        arguments += ["--ro-bind-data", str(descriptor), path]
    arguments += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", HOME, "--clearenv"]
    arguments += ["--seccomp", str(filter_file)]
    for name, value in {**ENVIRONMENT, **box.environment}.items():
        arguments += ["--setenv", name, value]
    return [*arguments, *limited(argv, box.limits)]


def _data_pipe(content: bytes) -> int:
    """Returns the reading end of a pipe that holds ``content`` (at most 64 kB)."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as file:
        file.write(content)
    return reader


def spawn(argv: Sequence[str], box: Box, tty: int | None = None) -> subprocess.Popen[bytes]:
    """Starts ``argv`` in a fresh sandbox as the leader of a session.

    Args:
        argv: program and arguments, as seen inside.
        box: what the sandbox holds.
        tty: file descriptor of the session's terminal (a pty's slave side), which is also its input and output; None
            for no terminal: the input is empty, and the output is the ``stdout`` of the process that is returned.
    """
    pipes = {path: _data_pipe(content) for path, content in {**_IDENTITY, **box.files}.items()}
    filter_file = _data_pipe(seccomp.program(platform.machine()))
    descriptors = [*pipes.values(), filter_file]
    user = _host_user()
    # A parent that was started with `&` ignores SIGINT, and so would all it starts: Ctrl-C would end no program.
    try:
        inside = command(argv, box, pipes, filter_file)
        session = [_program("setsid")] if tty is None else [_program("setsid"), "--ctty"]
        return subprocess.Popen(
            [_program("env"), "--default-signal=INT,QUIT", *session, *inside],
            stdin=subprocess.DEVNULL if tty is None else tty, stdout=subprocess.PIPE if tty is None else tty,
            stderr=subprocess.STDOUT, cwd="/", env={}, pass_fds=descriptors,
            user=user, group=user, extra_groups=None if user is None else [],
        )  # fmt: skip
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def run(pid: int, argv: Sequence[str], timeout: float) -> str:
    """Runs a program in the home of the sandbox that process ``pid`` is in and returns all it printed.

    Raises:
        RuntimeError: the program failed, or took longer than ``timeout`` seconds; the message says which.
    """
    namespaces = ["--user", "--preserve-credentials", "--mount", "--pid", "--net", "--ipc", "--uts"]
    variables = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
    inside = ["/usr/bin/env", "-i", "-C", HOME, *variables, *argv]
    user = _host_user()
    try:
        result = subprocess.run(
            [_program("nsenter"), "--target", str(pid), *namespaces, *limited(inside)], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/", env={}, timeout=timeout,
            user=user, group=user, extra_groups=None if user is None else [],
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{list(argv)} in the sandbox of process {pid} did not end within {timeout:g} s") from None
    text = result.stdout.decode(errors="replace")
    if result.returncode:
        raise RuntimeError(f"{list(argv)} in the sandbox of process {pid} ended with {result.returncode}: {text!r}")
    return text
