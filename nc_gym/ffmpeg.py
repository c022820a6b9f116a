"""Frames into a video file through ffmpeg: raw pixels go in by a pipe, and how ffmpeg ended is known.

imageio has such a writer, too, but leaves its pipe open and says nothing when ffmpeg fails, as it does on a full disk.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

_LEAST_ROOM = 64 * 1024  # bytes; with less ffmpeg's last block may not fit


class FfmpegError(RuntimeError):
    """ffmpeg failed, and not because the disk is full."""


class FramePipe:
    """Streams equal frames into one video file.

    Args:
        path: the file; written over.
        shape: height and width of the frames in pixels.
        fps: frames per second, for players.
        codec: ffmpeg's options of how to encode.
    """

    def __init__(self, path: Path, shape: tuple[int, int], fps: float, codec: Sequence[str]) -> None:
        self.path = path
        height, width = shape
        command = [
            imageio_ffmpeg.get_ffmpeg_exe(), "-v", "quiet", "-y", "-f", "rawvideo", "-s", f"{width}x{height}",
            "-pix_fmt", "rgb24", "-r", f"{fps:g}", "-i", "-", "-an", *codec, str(path),
        ]  # fmt: skip
        # A session of its own: Ctrl-C is for us, who then finish or remove the file.
        self._ffmpeg = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)

    def write(self, frame: NDArray[np.uint8]) -> None:
        """Appends a frame, uint8 (H, W, 3).

        Raises:
            OSError: the disk is full.
            FfmpegError: ffmpeg ended for another reason.
        """
        assert self._ffmpeg.stdin is not None
        try:
            self._ffmpeg.stdin.write(np.ascontiguousarray(frame).tobytes())
        except OSError as error:
            self.end()
            raise self._failure() from error

    def close(self) -> None:
        """Finishes the file.

        Raises:
            OSError: the disk is full.
            FfmpegError: ffmpeg failed for another reason.
        """
        if self.end() != 0:
            raise self._failure()

    def end(self) -> int:
        """Lets ffmpeg finish, whatever became of it, and returns its exit status."""
        assert self._ffmpeg.stdin is not None
        with contextlib.suppress(OSError):  # it has ended already
            self._ffmpeg.stdin.close()
        return self._ffmpeg.wait()

    def _failure(self) -> Exception:
        """Returns the error to raise when ffmpeg failed."""
        if shutil.disk_usage(self.path.parent).free < _LEAST_ROOM:
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        return FfmpegError(
            f"ffmpeg failed while it wrote {self.path}; check that the folder can be written to, that the name ends as "
            "a video's does (.mp4, .mkv), and that memory is not short"
        )
