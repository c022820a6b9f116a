"""The sandbox of one desktop: its configuration files, its authority file, its limits, and what the host must have."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np

from nc_gym.machines import font, sandbox
from nc_gym.machines.desktop_events import HEIGHT, WIDTH
from nc_gym.machines.shell import BASHRC

AUTH = b"MIT-MAGIC-COOKIE-1"
LIMITS = {"nproc": 96, "as": 512 << 20, "fsize": 4 << 20, "core": 0, "nofile": 256}
"""Limits of every program of a desktop; ``nproc`` counts all processes of the sandbox."""
SHELL_LIMITS = {**sandbox.LIMITS, "nproc": 64}
"""Those of the shells in xterm: a terminal machine's, but each open xterm is three processes of the same sandbox."""
PACKAGES = {
    "/usr/bin/Xvfb": "xvfb", "/usr/bin/jwm": "jwm", "/usr/bin/xterm": "xterm", "/usr/bin/xcalc": "x11-apps",
    "/usr/bin/xedit": "x11-apps", "/usr/share/fonts/X11/misc/cursor.pcf.gz": "xfonts-base",
    "/usr/share/fonts/X11/misc/spleen-8x16.pcf.gz": "fonts-spleen",
    "/usr/share/fonts/opentype/spleen/spleen-8x16.otf": "fonts-spleen",
}  # fmt: skip
"""What a desktop needs on the host -> the Debian package that has it."""
_CONFIG = Path(__file__).with_name("desktop_config")
_FOLDER = "/etc/desktop"
START = ("/usr/bin/bash", f"{_FOLDER}/start.sh", f"{WIDTH}x{HEIGHT}x24")
"""The sandbox's first program."""
_ENVIRONMENT = {
    "DISPLAY": ":0", "XAUTHORITY": f"{_FOLDER}/Xauthority", "XENVIRONMENT": f"{_FOLDER}/Xresources",
    "FONTCONFIG_FILE": f"{_FOLDER}/fonts.conf", "XCURSOR_PATH": _FOLDER,  # no themes: the X server's own pointers
}  # fmt: skip
_WIDGET_FONT = "-spleen-widget-medium-r-normal--15-150-72-72-c-80-iso8859-1"
_DESCENT = 4  # rows of the font below its baseline
_XTERM_VARIABLES = ("WINDOWID", "XTERM_VERSION", "XTERM_LOCALE", "XTERM_SHELL")


class ServerLost(RuntimeError):
    """An X server or window manager that died or does not answer."""


def check_packages() -> None:
    """Raises ``SandboxUnavailable`` with the Debian packages that are missing, if any are."""
    missing = sorted({package for path, package in PACKAGES.items() if not os.path.exists(path)})
    if missing:
        raise sandbox.SandboxUnavailable(
            f"real desktops need programs and fonts that are not installed: apt-get install {' '.join(missing)}"
        )


def _widget_font() -> bytes:
    """Returns the terminal's font as a BDF file without its lowest row of pixels, which is empty.

    Xaw puts one pixel between lines of text: 15 rows and that one keep the lines of the editor on the grid.
    """
    rows = font.CELL_HEIGHT - 1
    size = f"{font.CELL_WIDTH} {rows} 0 {1 - _DESCENT}"
    lines = ["STARTFONT 2.1", f"FONT {_WIDGET_FONT}", f"SIZE {rows} 72 72", f"FONTBOUNDINGBOX {size}"]
    lines += [
        "STARTPROPERTIES 2",
        f"FONT_ASCENT {rows - _DESCENT + 1}",
        f"FONT_DESCENT {_DESCENT - 1}",
        "ENDPROPERTIES",
    ]
    lines += [f"CHARS {font.REPLACEMENT}"]
    for index, glyph in enumerate(np.packbits(font.GLYPHS[: font.REPLACEMENT, :rows], axis=2)[:, :, 0]):
        lines += [f"STARTCHAR {index}", f"ENCODING {font.FIRST_CHAR + index}", "SWIDTH 500 0"]
        lines += [f"DWIDTH {font.CELL_WIDTH} 0", f"BBX {size}", "BITMAP", *(f"{row:02X}" for row in glyph), "ENDCHAR"]
    return "\n".join([*lines, "ENDFONT", ""]).encode()


def box(cookie: bytes) -> sandbox.Box:
    """Returns the sandbox of a desktop whose X server asks its clients for ``cookie``."""

    def field(data: bytes) -> bytes:
        return struct.pack(">H", len(data)) + data

    files = {f"{_FOLDER}/{path.name}": path.read_bytes() for path in _CONFIG.iterdir()}
    files[f"{_FOLDER}/Xauthority"] = struct.pack(">H", 0xFFFF) + b"".join(map(field, (b"", b"0", AUTH, cookie)))
    shell = ["exec", "env", *(f"-u {name}" for name in (*_ENVIRONMENT, *_XTERM_VARIABLES))]
    shell += sandbox.limited(["bash", "--rcfile", "/etc/bashrc", "-i"], SHELL_LIMITS)
    files[f"{_FOLDER}/shell"] = " ".join(shell).encode()
    files[f"{_FOLDER}/fonts/widget.bdf"] = _widget_font()
    files[f"{_FOLDER}/fonts/fonts.dir"] = f"1\nwidget.bdf {_WIDGET_FONT}\n".encode()
    files["/etc/bashrc"] = BASHRC
    return sandbox.Box(_ENVIRONMENT, files, ("/etc/X11/app-defaults",), LIMITS, terminals=True)
