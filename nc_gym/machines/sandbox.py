"""The sandbox of the real computers: bubblewrap, with nothing of the host inside but a read-only system.

No network, own user, pid, mount, ipc and uts namespaces, private home and /tmp in memory, limits on processes, memory,
file size and processor time. There is no unsandboxed fallback.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

HOME = "/home/user"
HOME_BYTES = 8 << 20
TMP_BYTES = 4 << 20
LIMITS = {"nproc": 32, "as": 256 << 20, "fsize": 4 << 20, "cpu": 60, "core": 0, "nofile": 256}
"""Resource limits of every process in the sandbox, in the units of ``prlimit``; ``nproc`` counts the whole sandbox."""
HOST_UID = 61000  # root gives its rights up before entering: the kernel does not count root's processes
_SYSTEM_DIRS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_PASSWD = b"user:x:1000:1000::/home/user:/bin/bash\n"


class SandboxUnavailable(RuntimeError):
    """Real computers cannot run here, because the sandbox cannot."""


def _system_arguments() -> list[str]:
    """Returns the bwrap arguments that show the system read-only, with or without a merged /usr."""
    arguments = ["--ro-bind", "/usr", "/usr"]
    for name in _SYSTEM_DIRS:
        path = f"/{name}"
        if os.path.islink(path):
            arguments += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            arguments += ["--ro-bind", path, path]
    for path in ("/etc/alternatives", "/etc/ld.so.cache"):
        if os.path.exists(path):
            arguments += ["--ro-bind", path, path]
    return arguments


def command(argv: Sequence[str], environment: Mapping[str, str], data: Mapping[str, int]) -> list[str]:
    """Returns the command that runs ``argv`` in a fresh sandbox.

    Args:
        argv: program and arguments, as seen inside.
        environment: the whole environment inside.
        data: read-only files inside: path -> file descriptor that bwrap reads the content from.
    """
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise SandboxUnavailable(
            "real computers run in a bubblewrap sandbox, but the program bwrap was not found: apt-get install bubblewrap"
        )
    arguments = [bwrap, "--unshare-all", "--die-with-parent", "--hostname", "computer", "--uid", "1000", "--gid", "1000"]
    arguments += _system_arguments()
    arguments += ["--proc", "/proc", "--dev", "/dev", "--size", str(HOME_BYTES), "--tmpfs", HOME]
    arguments += ["--size", str(TMP_BYTES), "--tmpfs", "/tmp", "--chdir", HOME, "--clearenv"]
    for path, descriptor in data.items():
        arguments += ["--ro-bind-data", str(descriptor), path]
    arguments += ["--remount-ro", "/dev", "--remount-ro", "/"]
    for name, value in environment.items():
        arguments += ["--setenv", name, value]
    limits = [f"--{name}={value}" for name, value in LIMITS.items()]
    return [*arguments, "/usr/bin/prlimit", *limits, *argv]


def data_pipe(content: bytes) -> int:
    """Returns the reading end of a pipe that holds ``content`` (at most 64 kB)."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as file:
        file.write(content)
    return reader


def spawn(
    argv: Sequence[str], environment: Mapping[str, str], files: Mapping[str, bytes], tty: int
) -> subprocess.Popen[bytes]:
    """Starts ``argv`` in a fresh sandbox as the leader of a session whose terminal is ``tty`` (a pty's slave side)."""
    contents = {"/etc/passwd": _PASSWD, **files}
    pipes = {path: data_pipe(content) for path, content in contents.items()}
    root = os.geteuid() == 0
    try:
        return subprocess.Popen(
            ["setsid", "--ctty", *command(argv, environment, pipes)],
            stdin=tty, stdout=tty, stderr=tty, cwd="/", env={"PATH": os.environ.get("PATH", os.defpath)},
            pass_fds=list(pipes.values()),
            user=HOST_UID if root else None, group=HOST_UID if root else None, extra_groups=[] if root else None,
        )  # fmt: skip
    finally:
        for descriptor in pipes.values():
            os.close(descriptor)
