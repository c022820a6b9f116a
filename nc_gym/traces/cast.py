"""Reads and writes recordings of terminal sessions as asciinema v2 cast files.

One JSON header line, then one JSON line per event: ``[seconds, "o", text]`` is output, ``[seconds, "i", text]`` the
bytes of one key ("" is the idle event), and a marker ``[seconds, "m", family]`` before an Enter names the family of the
command. Each key is followed by its own output. Times are synthetic, so that one seed gives one file, byte for byte.
The header holds the number of keys and a checksum of all lines after it, so that no damage goes unnoticed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nc_gym.machines.keys import KEY_BYTES, KEY_INDEX
from nc_gym.traces.home import FAMILIES, FAMILY_INDEX
from nc_gym.traces.lines import checksum, read_lines, write_whole

_SECONDS_PER_KEY = 0.12
_SECONDS_PER_ENTER = 0.5
_ECHO_DELAY = 0.02
_EVENT_OF_TEXT = {data.decode("ascii"): event for event, data in enumerate(KEY_BYTES)}


class CastError(ValueError):
    """A cast file that cannot be read as a complete recording."""


@dataclass(frozen=True)
class Cast:
    """One recorded session.

    Attributes:
        columns, rows: size of the terminal.
        info: what the recording says about itself (seed, user, split, sandbox, ...).
        events: key index of each step.
        families: command family index of each step, 0 except for Enter.
        outputs: what the terminal printed, one text more than events: first after the boot, then after each event.
    """

    columns: int
    rows: int
    info: dict[str, Any]
    events: list[int]
    families: list[int]
    outputs: list[str]


def dumps(cast: Cast) -> str:
    """Returns ``cast`` as the text of an asciinema v2 file."""
    time = 0.0
    lines = [json.dumps([time, "o", cast.outputs[0]])]
    for event, family, output in zip(cast.events, cast.families, cast.outputs[1:], strict=True):
        enter = event == KEY_INDEX["Enter"]
        time = round(time + (_SECONDS_PER_ENTER if enter else _SECONDS_PER_KEY), 2)
        if family:
            lines.append(json.dumps([time, "m", FAMILIES[family]]))
        lines.append(json.dumps([time, "i", KEY_BYTES[event].decode("ascii")]))
        if output:
            time = round(time + _ECHO_DELAY, 2)
            lines.append(json.dumps([time, "o", output]))
    info = {**cast.info, "steps": len(cast.events), "crc32": checksum(lines)}
    env = {"SHELL": "/bin/bash", "TERM": "linux"}
    header = {"version": 2, "width": cast.columns, "height": cast.rows, "env": env, "nc_gym": info}
    return "\n".join([json.dumps(header), *lines]) + "\n"


def write_cast(path: Path, cast: Cast) -> None:
    """Writes ``cast`` to ``path`` in one piece: a killed process leaves the old file or none, never half of one."""
    write_whole(path, dumps(cast))


def read_cast(path: Path) -> Cast:
    """Reads a complete recording.

    Raises:
        CastError: the file is truncated, damaged or no recording of this package.
    """
    try:
        lines = read_lines(path)
        header = json.loads(lines[0])
        info = dict(header["nc_gym"])
        steps = info.pop("steps")
        expected = info.pop("crc32", None)  # recordings of the first days have none
        cast = Cast(header["width"], header["height"], info, [], [], [""])
        _read_events(cast, lines[1:])
    except (ValueError, LookupError, TypeError) as error:
        raise CastError(_complaint(path, f"it cannot be parsed ({type(error).__name__}: {error})")) from error
    if len(cast.events) != steps:
        raise CastError(_complaint(path, f"it holds {len(cast.events)} of {steps} events"))
    if expected not in (None, checksum(lines[1:])):
        raise CastError(_complaint(path, "its lines do not match the checksum in its header"))
    return cast


def _read_events(cast: Cast, lines: list[str]) -> None:
    """Appends the events of ``lines`` to the lists of ``cast``."""
    family = 0
    for line in lines:
        _, kind, data = json.loads(line)
        if kind == "o":
            cast.outputs[-1] += data
        elif kind == "m":
            family = FAMILY_INDEX[data]
        elif kind == "i":
            cast.events.append(_EVENT_OF_TEXT[data])
            cast.families.append(family)
            cast.outputs.append("")
            family = 0


def _complaint(path: Path, reason: str) -> str:
    return (
        f"{path} is not a complete recording: {reason}; expected an asciinema v2 file from 'nc-gym collect': "
        "delete this file and run the same collect command again, which records only what is missing"
    )
