"""Files of text lines that are written in one piece, and the checksum by which a header knows its lines."""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Writes ``text`` to ``path``: a killed process leaves the old file or none, never half of one."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def read_lines(path: Path) -> list[str]:
    """Returns the lines of a file, at least one.

    Raises:
        UnicodeDecodeError: it is no text.
    """
    return path.read_bytes().decode().removesuffix("\n").split("\n")


def checksum(lines: Sequence[str]) -> int:
    """Returns the CRC-32 of ``lines``."""
    return zlib.crc32("\n".join(lines).encode())
