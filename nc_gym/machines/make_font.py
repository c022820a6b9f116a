"""Makes ``spleen_8x16.hex``, the terminal's glyph table, from the PSF file of Debian's ``fonts-spleen`` package.

Command that made the shipped table (fonts-spleen 1.9.1-1):
``apt-get download fonts-spleen && dpkg-deb -x fonts-spleen_*.deb . &&
python -m nc_gym.machines.make_font usr/share/consolefonts/spleen-8x16.psfu.gz``
"""

from __future__ import annotations

import gzip
import struct
import sys
from pathlib import Path

TABLE = Path(__file__).with_name("spleen_8x16.hex")
FIRST, LAST = 32, 126  # printable ASCII
_MAGIC = b"\x36\x04"
_MODE_512, _MODE_HAS_TABLE = 1, 2


def read_psf1(data: bytes) -> dict[str, bytes]:
    """Returns the 16-byte bitmap (one byte per pixel row, left pixel = high bit) of every character of a PSF1 font."""
    magic, mode, size = data[:2], data[2], data[3]
    if (magic, size) != (_MAGIC, 16) or not mode & _MODE_HAS_TABLE:
        raise ValueError(f"expected an 8x16 PSF1 font with a unicode table, got magic {magic.hex()}, height {size}")
    count = 512 if mode & _MODE_512 else 256
    table = data[4 + count * size :]
    codes = struct.unpack(f"<{len(table) // 2}H", table)
    glyphs: dict[str, bytes] = {}
    index, in_sequence = 0, False
    for code in codes:
        if code == 0xFFFF:
            index, in_sequence = index + 1, False
        elif code == 0xFFFE:
            in_sequence = True
        elif not in_sequence:
            glyphs[chr(code)] = data[4 + index * size : 4 + (index + 1) * size]
    return glyphs


def main(source: str) -> None:
    """Writes the table: one line ``code:bitmap`` in hexadecimal per printable ASCII character."""
    data = Path(source).read_bytes()
    glyphs = read_psf1(gzip.decompress(data) if source.endswith(".gz") else data)
    lines = [f"{code:02X}:{glyphs[chr(code)].hex().upper()}\n" for code in range(FIRST, LAST + 1)]
    TABLE.write_text("".join(lines), encoding="ascii")


if __name__ == "__main__":
    main(sys.argv[1])
