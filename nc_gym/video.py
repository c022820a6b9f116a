"""Videos of environments: frames are streamed to an mp4 file, enlarged by whole pixels and padded, never resized.

    with VideoWriter("run.mp4", fps=15) as video:
        video.write(env.render())

``RecordEpisodes`` and ``RecordVector`` do that around a single and a vector environment; ``strip`` turns a video into
one picture. They need no ffmpeg on the system and no moviepy.
"""

from __future__ import annotations

import math
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import imageio.v2 as imageio
import imageio_ffmpeg
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from numpy.typing import NDArray

from nc_gym.ffmpeg import FramePipe

Frame = NDArray[np.uint8]

_H264 = ("-vcodec", "libx264", "-pix_fmt", "yuv420p", "-crf", "18")
BLOCK = 16  # h.264 codes 16×16 blocks; frame sides are padded to multiples of it


class VideoWriter:
    """Streams frames into one mp4 file (h.264, yuv420p); only the current frame is in memory.

    The file is closed by ``close()`` or on leaving the ``with`` block, also after an error: what was written plays.
    Without any frame there is no file.

    Args:
        path: the mp4 file; missing folders are created.
        fps: frames per second, positive.
        scale: every pixel becomes ``scale`` × ``scale`` pixels.
    """

    def __init__(self, path: str | Path, fps: float, scale: int = 1) -> None:
        if not fps > 0:
            raise ValueError(f"fps is {fps}; a video needs a positive number of frames per second")
        if int(scale) != scale or scale < 1:
            raise ValueError(f"scale is {scale}; frames are enlarged by a whole number >= 1")
        self.path = Path(path)
        self.frames = 0
        self._scale = int(scale)
        self._shape: tuple[int, ...] | None = None
        self._fps, self._closed = fps, False
        self._pipe: FramePipe | None = None  # from the first frame on, which says how large they are
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, frame: Frame) -> None:
        """Appends one frame, uint8 (H, W, 3); all frames of a video have one shape.

        Raises:
            ValueError: another kind or size of frame, or the video is closed.
            OSError: the disk is full.
            FfmpegError: ffmpeg failed for another reason.
        """
        frame = np.asarray(frame)
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise ValueError(f"a frame is uint8 (H, W, 3), not {frame.dtype} {frame.shape}")
        if self._closed:
            raise ValueError(f"the video {self.path} is closed; open a new VideoWriter to write more frames")
        if self._shape is not None and frame.shape != self._shape:
            raise ValueError(f"this frame is {frame.shape}, the video's first one was {self._shape}; keep one size")
        self._shape = frame.shape
        frame = pad(enlarge(frame, self._scale))
        if self._pipe is None:
            self._pipe = FramePipe(self.path, frame.shape[:2], self._fps, _H264)
        self._pipe.write(frame)
        self.frames += 1

    def close(self) -> None:
        """Finishes the file; safe to call twice.

        Raises:
            OSError: the disk is full.
            FfmpegError: ffmpeg failed for another reason.
        """
        pipe, self._pipe, self._closed = self._pipe, None, True
        if pipe is not None:
            pipe.close()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def enlarge(frame: Frame, scale: int) -> Frame:
    """Returns (H·scale, W·scale, 3): nearest neighbour, so that text stays sharp."""
    return frame.repeat(scale, axis=0).repeat(scale, axis=1)


def pad(frame: Frame) -> Frame:
    """Returns the frame with black added on the right and below, up to multiples of 16 pixels."""
    height, width = frame.shape[:2]
    return np.pad(frame, ((0, -height % BLOCK), (0, -width % BLOCK), (0, 0)))


def tile(frames: Sequence[Frame], columns: int | None = None) -> Frame:
    """Returns one frame with N equal frames in a grid, row by row; empty places are black.

    Args:
        frames: N frames (H, W, 3).
        columns: frames per row; the default makes the grid about square.
    """
    if len(frames) == 0:
        raise ValueError("there are no frames to tile; give at least one")
    columns = columns or math.ceil(math.sqrt(len(frames)))
    rows = math.ceil(len(frames) / columns)
    height, width = frames[0].shape[:2]
    grid = np.zeros((rows, columns, height, width, 3), dtype=np.uint8)
    for i, frame in enumerate(frames):
        grid[i // columns, i % columns] = frame
    return grid.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, 3)


def read_frames(video: str | Path) -> Iterator[Frame]:
    """Yields the frames of a video one by one, uint8 (H, W, 3).

    Raises:
        ValueError: the file is no video.
    """
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "quiet", "-i", str(video), "-fps_mode", "passthrough"]
    command += ["-f", "image2pipe", "-c:v", "ppm", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while process.stdout.readline():  # P6, then width and height, then 255, then the pixels
            width, height = map(int, process.stdout.readline().split())
            process.stdout.readline()
            pixels = process.stdout.read(height * width * 3)
            yield np.frombuffer(pixels, np.uint8).reshape(height, width, 3)
    if process.returncode != 0:
        raise ValueError(f"{video} is no video that ffmpeg can read; record it again")


def strip(video: str | Path, picture: str | Path, count: int = 4, columns: int = 1) -> Path:
    """Writes ``count`` frames of a video, evenly spaced up to the last one, as one PNG.

    Args:
        video: an mp4 file.
        picture: the PNG to write.
        count: how many frames; fewer if the video has fewer.
        columns: frames per row of the picture.
    """
    total = sum(1 for _ in read_frames(video))
    count = min(count, total)
    wanted = {(i + 1) * total // count - 1 for i in range(count)}
    frames = [frame for i, frame in enumerate(read_frames(video)) if i in wanted]
    Path(picture).parent.mkdir(parents=True, exist_ok=True)
    imageio.imwrite(picture, tile(frames, columns))
    return Path(picture)


class RecordEpisodes(gym.Wrapper[Any, Any, Any, Any]):
    """Films every episode of an environment: ``folder/prefix-episode-0.mp4``, ``-1.mp4``, ...

    An episode's video holds the frame after ``reset`` and one per step, the terminal one included.

    Args:
        env: an environment made with ``render_mode="rgb_array"``.
        folder: where the videos go.
        prefix: start of each file name.
        scale: enlargement of each pixel.
    """

    def __init__(self, env: gym.Env[Any, Any], folder: str | Path, prefix: str = "nc_gym", scale: int = 1) -> None:
        super().__init__(env)
        require_rgb_array(env.render_mode)
        self.episode = -1
        self._folder, self._prefix, self._scale = Path(folder), prefix, scale
        self._video: VideoWriter | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Resets the environment and starts the next episode's video."""
        self._finish()
        obs, info = self.env.reset(seed=seed, options=options)
        self.episode += 1
        path = self._folder / f"{self._prefix}-episode-{self.episode}.mp4"
        self._video = VideoWriter(path, self.metadata["render_fps"], self._scale)
        self._video.write(rendered(self.env))
        return obs, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Steps the environment and films the result; an error closes the video first."""
        try:
            obs, reward, terminated, truncated, info = self.env.step(action)
            if self._video is not None:
                self._video.write(rendered(self.env))
        except BaseException:
            self._finish()
            raise
        if terminated or truncated:
            self._finish()
        return obs, reward, terminated, truncated, info

    def close(self) -> None:
        """Finishes a running video, then closes the environment, also where the video fails."""
        try:
            self._finish()
        finally:
            super().close()

    def _finish(self) -> None:
        video, self._video = self._video, None
        if video is not None:
            video.close()


class RecordVector(VectorWrapper):
    """Films N environments as one video of tiles, a frame per ``reset`` and per ``step``.

    Under SAME_STEP a finished row shows its terminal observation (``info["final_obs"]``) for one frame, not the first
    frame of its next episode.

    Args:
        env: a vector environment made with ``render_mode="rgb_array"``.
        path: the mp4 file.
        scale: enlargement of each pixel.
    """

    def __init__(self, env: VectorEnv, path: str | Path, scale: int = 1) -> None:
        super().__init__(env)
        require_rgb_array(env.render_mode)
        self._same_step = env.metadata.get("autoreset_mode") == AutoresetMode.SAME_STEP
        space = env.single_observation_space
        if self._same_step and (space.shape is None or len(space.shape) != 3):
            raise ValueError(
                f"filming terminal frames under SAME_STEP takes them from the observations, which are {space}; "
                'use obs="screen" or autoreset_mode="NextStep"'
            )
        self._video = VideoWriter(path, env.metadata["render_fps"], scale)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Resets the environments and films their first screens."""
        obs, info = self.env.reset(seed=seed, options=options)
        self._write(info)
        return obs, info

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Steps the environments and films them; an error closes the video first."""
        try:
            obs, rewards, terminations, truncations, info = self.env.step(actions)
            self._write(info)
        except BaseException:
            self._video.close()
            raise
        return obs, rewards, terminations, truncations, info

    def close(self, **kwargs: Any) -> None:
        """Finishes the video, then closes the environments, also where the video fails."""
        try:
            self._video.close()
        finally:
            super().close(**kwargs)

    def _write(self, info: dict[str, Any]) -> None:
        frames = [np.asarray(frame, dtype=np.uint8) for frame in self.env.render() or ()]
        if self._same_step and "final_obs" in info:
            for row in np.flatnonzero(info["_final_obs"]):
                frames[row] = fit(np.asarray(info["final_obs"][row]), frames[row].shape)
        self._video.write(tile(frames))


def fit(frame: Frame, shape: tuple[int, ...]) -> Frame:
    """Returns the frame enlarged as often as it fits into ``shape`` (H, W, 3), in the top left corner, on black."""
    frame = enlarge(frame, max(1, min(shape[0] // frame.shape[0], shape[1] // frame.shape[1])))
    fitted = np.zeros(shape, np.uint8)
    fitted[: frame.shape[0], : frame.shape[1]] = frame
    return fitted


def require_rgb_array(render_mode: str | None) -> None:
    """Raises ValueError unless an environment renders frames."""
    if render_mode != "rgb_array":
        raise ValueError(f'render_mode is {render_mode!r}; videos need gym.make(..., render_mode="rgb_array")')


def rendered(env: gym.Env[Any, Any]) -> Frame:
    """Returns the environment's current frame, uint8 (H, W, 3)."""
    return np.asarray(env.render(), dtype=np.uint8)
