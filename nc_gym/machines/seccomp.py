"""The system-call filter of the sandbox: a small BPF program that bubblewrap loads before it starts a program.

It refuses what no command-line program needs and what widens the way into the host's kernel: further namespaces and
mounts, tracing, keyrings, the kernel log, bpf, io_uring, and memory that no limit counts.
"""

from __future__ import annotations

import errno
import struct

_LOAD, _EQUAL, _AT_LEAST, _BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000
_NUMBER, _ARCH, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data
_CLONE_NEWUSER = 0x10000000
_FOREIGN_ABI = 0x40000000  # x86-64's x32 calls

_ARCHES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
_CLONE, _CLONE3 = (56, 220), (435, 435)
_REFUSED = {
    "shmget": (29, 194), "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180), "memfd_create": (319, 279),
    "memfd_secret": (447, 447), "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "syslog": (103, 116), "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "fsmount": (432, 432),
    "open_by_handle_at": (304, 265), "perf_event_open": (298, 241), "bpf": (321, 280), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "kexec_load": (246, 104),
}  # fmt: skip
"""Name -> system call number on (x86-64, arm64)."""


def program(machine: str) -> bytes:
    """Returns the filter for a machine type ("x86_64" or "aarch64") as an array of ``struct sock_filter``."""
    arch, column = _ARCHES[machine]
    refused = sorted({numbers[column] for numbers in _REFUSED.values()})
    deny, missing = _FAIL | errno.EPERM, _FAIL | errno.ENOSYS
    # Every test falls through to a return of its own, so no jump is longer than one instruction.
    code = [(_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, arch), (_RETURN, 0, 0, deny), (_LOAD, 0, 0, _NUMBER)]
    code += [(_AT_LEAST, 0, 1, _FOREIGN_ABI), (_RETURN, 0, 0, deny)]
    for number in refused:
        code += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, deny)]
    code += [(_EQUAL, 0, 1, _CLONE3[column]), (_RETURN, 0, 0, missing)]  # its flags are out of sight: use clone instead
    code += [(_EQUAL, 1, 0, _CLONE[column]), (_RETURN, 0, 0, _ALLOW), (_LOAD, 0, 0, _FIRST_ARGUMENT)]
    code += [(_BITS, 0, 1, _CLONE_NEWUSER), (_RETURN, 0, 0, deny), (_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)
