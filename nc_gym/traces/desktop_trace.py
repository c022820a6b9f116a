"""Reads and writes recordings of desktop sessions: NAME.jsonl and NAME.mkv.

The first line of the JSON file is the header, then comes one line per event: the event, what the user meant by it,
where the pointer was after it and with which image, and the window list where the screen changed. Frame 0 of
the video is the screen after the boot, frame k the settled screen after event k, without the pointer, which is drawn
from the line. The video is lossless (H.264 on RGB, between frames); checksums in the header cover frames and lines.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from nc_gym.ffmpeg import FramePipe
from nc_gym.machines.desktop_events import HEIGHT, SIZES, WIDTH, Event
from nc_gym.machines.pointer import Sprite, composite
from nc_gym.machines.window import Window
from nc_gym.traces.lines import checksum, read_lines, write_whole

FORMAT = "nc_gym desktop 1"
_FPS = 10  # for players only: time is events
_LOSSLESS = ["-vcodec", "libx264rgb", "-pix_fmt", "rgb24", "-qp", "0", "-preset", "veryfast", "-threads", "1"]


class TraceError(ValueError):
    """A recording that cannot be read as a complete session of this desktop."""


def require_new(*files: Path) -> None:
    """Refuses to overwrite what is there.

    Raises:
        TraceError: one of ``files`` exists.
    """
    for file in files:
        if file.exists():
            raise TraceError(f"{file} is there already and would be overwritten; choose another folder for --out")


@dataclass
class DesktopTrace:
    """One recorded session without its screens.

    Attributes:
        info: what the recording says about itself (seed, session, split, user, display, packages).
        pointers: x, y and image (index in ``sprites``) of the pointer, one more than events: first after the boot.
        events: pointer column, pointer row, button event and key of each step.
        purposes: what the user meant by each event.
        windows: number of an event -> the window list after it, where the screen changed, and before each plan.
        sprites: the pointer's images.
    """

    info: dict[str, Any]
    pointers: list[tuple[int, int, int]]
    events: list[Event] = field(default_factory=list)
    purposes: list[str] = field(default_factory=list)
    windows: dict[int, list[Window]] = field(default_factory=dict)
    sprites: list[Sprite] = field(default_factory=list)


class ScreenWriter:
    """Writes the screens of one session as they come; ``close`` before the lines are written.

    Args:
        path: the session's .mkv file, written beside it until ``close``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(path.stem + ".part.mkv")
        self._pipe = FramePipe(self._part, (HEIGHT, WIDTH), _FPS, _LOSSLESS)
        self.checksum = 0

    def write(self, screen: NDArray[np.uint8]) -> None:
        """Appends a screen, uint8 (240, 320, 3).

        Raises:
            OSError: the disk is full.
            FfmpegError: ffmpeg ended for another reason.
        """
        self.checksum = zlib.crc32(np.ascontiguousarray(screen).data, self.checksum)
        self._pipe.write(screen)

    def close(self) -> None:
        """Finishes the file.

        Raises:
            OSError: the disk is full.
            FfmpegError: ffmpeg failed for another reason.
        """
        self._pipe.close()
        os.replace(self._part, self._path)

    def discard(self) -> None:
        """Removes what was written."""
        self._pipe.end()
        self._part.unlink(missing_ok=True)


def write_trace(path: Path, trace: DesktopTrace, screens_checksum: int) -> None:
    """Writes the lines of a session in one piece: while ``path`` is missing, the session is not recorded."""
    lines = []
    for number, (event, purpose) in enumerate(zip(trace.events, trace.purposes, strict=True)):
        line: dict[str, Any] = {"event": event, "purpose": purpose, "pointer": trace.pointers[number + 1]}
        if number in trace.windows:
            line["windows"] = [asdict(window) for window in trace.windows[number]]
        lines.append(json.dumps(line))
    sprites = [
        {
            "hot": sprite.hot,
            "size": sprite.pixels.shape[1::-1],
            "rgba": base64.b64encode(zlib.compress(sprite.pixels.tobytes())).decode(),
        }
        for sprite in trace.sprites
    ]
    header = {
        "format": FORMAT, "width": WIDTH, "height": HEIGHT, "steps": len(trace.events), "pointer": trace.pointers[0],
        "crc32": checksum(lines), "screens_crc32": screens_checksum, "sprites": sprites, "info": trace.info,
    }  # fmt: skip
    write_whole(path, "\n".join([json.dumps(header), *lines]) + "\n")


def read_trace(path: Path) -> DesktopTrace:
    """Reads the lines of a complete session.

    Raises:
        TraceError: the file is truncated or damaged, or its screens have another size.
    """
    return _read_session(path)[0]


def _read_session(path: Path) -> tuple[DesktopTrace, int]:
    """Returns a session and the checksum of its screens."""
    header, lines = _read_lines(path)
    try:
        pointer = tuple(header["pointer"])
        trace = DesktopTrace(header["info"], [pointer], sprites=[_sprite(entry) for entry in header["sprites"]])
        for number, line in enumerate(map(json.loads, lines)):
            event = tuple(line["event"])
            if len(event) != 4 or not all(0 <= value < size for value, size in zip(event, SIZES, strict=True)):
                raise ValueError(f"event {event} of line {number + 2} is out of range")
            trace.events.append(event)
            trace.purposes.append(line["purpose"])
            trace.pointers.append(tuple(line["pointer"]))
            if "windows" in line:
                trace.windows[number] = [_window(entry) for entry in line["windows"]]
        return trace, header["screens_crc32"]
    except (ValueError, LookupError, TypeError, zlib.error) as error:
        raise TraceError(_complaint(path, f"it cannot be parsed ({type(error).__name__}: {error})")) from error


def _window(entry: dict[str, Any]) -> Window:
    normal = entry.pop("normal", None)
    return Window(**entry, normal=normal and tuple(normal))


def read_screens(path: Path, pointer: bool = True) -> Iterator[NDArray[np.uint8]]:
    """Yields the screens of a session, one more than events, each uint8 (240, 320, 3).

    Args:
        path: the session's .jsonl file.
        pointer: draw the pointer, as the machine shows it.

    Raises:
        TraceError: the lines or the video are truncated or damaged.
    """
    trace, expected = _read_session(path)
    seen, count = 0, 0
    for screen in decode(path.with_suffix(".mkv")):
        seen = zlib.crc32(screen.tobytes(), seen)
        if count < len(trace.pointers):
            drawn = screen.copy()
            if pointer:
                x, y, shape = trace.pointers[count]
                composite(drawn, trace.sprites[shape], x, y)
            yield drawn
        count += 1
    if count != len(trace.pointers) or seen != expected:
        raise TraceError(_complaint(path, f"its video holds {count} of {len(trace.pointers)} screens, or other ones"))


def decode(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Yields the frames of a video, scaled to this screen, uint8 (240, 320, 3) each, as far as it can be read."""
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-v", "quiet", "-i", str(path), "-s", f"{WIDTH}x{HEIGHT}",
        "-f", "rawvideo", "-pix_fmt", "rgb24", "-",
    ]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            while len(data := process.stdout.read(HEIGHT * WIDTH * 3)) == HEIGHT * WIDTH * 3:
                yield np.frombuffer(data, np.uint8).reshape(HEIGHT, WIDTH, 3)
        finally:
            process.kill()


def _read_lines(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Returns header and lines, once they are known to be whole."""
    try:
        lines = read_lines(path)
        header = json.loads(lines[0])
        if header["format"] != FORMAT:
            raise ValueError(f"its format is {header['format']!r}")
        size, steps, expected = (header["width"], header["height"]), header["steps"], header["crc32"]
    except (ValueError, LookupError, TypeError) as error:
        raise TraceError(_complaint(path, f"it cannot be parsed ({type(error).__name__}: {error})")) from error
    if size != (WIDTH, HEIGHT):
        raise TraceError(
            f"{path} was recorded on screens of {size[0]}x{size[1]} pixels, this desktop has {WIDTH}x{HEIGHT}: "
            "record it again with 'nc-gym collect desktop'"
        )
    if len(lines) - 1 != steps:
        raise TraceError(_complaint(path, f"it holds {len(lines) - 1} of {steps} events"))
    if checksum(lines[1:]) != expected:
        raise TraceError(_complaint(path, "its lines do not match the checksum in its header"))
    return header, lines[1:]


def _sprite(entry: dict[str, Any]) -> Sprite:
    width, height = entry["size"]
    data = zlib.decompress(base64.b64decode(entry["rgba"]))
    return Sprite(np.frombuffer(data, np.uint8).reshape(height, width, 4), tuple(entry["hot"]))


def _complaint(path: Path, reason: str) -> str:
    return (
        f"{path} is not a complete recording: {reason}; expected a session of 'nc-gym collect desktop': "
        "delete this file and run the same collect command again, which records only what is missing"
    )
