"""Videos are decoded again and compared with the frames that went in."""

import errno

import gymnasium as gym
import imageio.v2 as imageio
import imageio_ffmpeg
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from small_disk import small_disk

from nc_gym.ffmpeg import FfmpegError, FramePipe
from nc_gym.frames import draw_line, text_chars
from nc_gym.video import RecordEpisodes, RecordVector, VideoWriter, fit, pad, read_frames, strip, tile


def decode(path):
    frames = np.stack(list(read_frames(path)))
    count, seconds = imageio_ffmpeg.count_frames_and_secs(str(path))
    assert count == len(frames)
    return frames, count / seconds


class Counter(gym.Env):
    """Shows its step number as brightness; ends after three steps."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}
    observation_space = gym.spaces.Box(0, 255, (32, 48, 3), np.uint8)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, render_mode="rgb_array"):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return self.render(), {}

    def step(self, action):
        if action == 1:
            raise RuntimeError("boom")
        self.count += 1
        return self.render(), 0.0, self.count == 3, False, {}

    def render(self):
        return np.full((32, 48, 3), self.count * 60, np.uint8)


def levels(frames):
    """The step number that each decoded frame shows."""
    return (frames[:, 4, 4].mean(axis=-1) / 60).round().astype(int).tolist()


def test_mp4_has_every_frame_enlarged_and_padded_not_resized(tmp_path):
    frames = np.random.default_rng(0).integers(0, 2, (7, 20, 24, 1), dtype=np.uint8).repeat(3, axis=-1) * 255
    with VideoWriter(tmp_path / "new" / "a.mp4", fps=10, scale=3) as video:
        for frame in frames:
            video.write(frame)
    decoded, fps = decode(tmp_path / "new" / "a.mp4")
    assert fps == 10
    assert decoded.shape == (7, 64, 80, 3)  # 60 × 72, up to multiples of 16
    sharp = frames.repeat(3, axis=1).repeat(3, axis=2)
    assert np.array_equal(decoded[:, 1:60:3, 1:72:3] > 127, sharp[:, 1:60:3, 1:72:3] > 127)
    assert decoded[:, 61:].max() < 40 and decoded[:, :, 74:].max() < 40


def test_a_video_survives_an_error_and_refuses_frames_of_another_size(tmp_path):
    with pytest.raises(ValueError, match=r"\(16, 32, 3\).*\(16, 16, 3\)"):
        with VideoWriter(tmp_path / "a.mp4", fps=10) as video:
            video.write(np.zeros((16, 16, 3), np.uint8))
            video.write(np.zeros((16, 32, 3), np.uint8))
    assert len(decode(tmp_path / "a.mp4")[0]) == 1
    with pytest.raises(ValueError, match="closed"):
        video.write(np.zeros((16, 16, 3), np.uint8))


@pytest.mark.parametrize("frames", [1, 60])
def test_a_video_that_does_not_fit_on_the_disk_is_an_error_of_the_disk(tmp_path, frames):
    """ffmpeg ends while it is written to, or, with few frames, only when the video is closed."""
    rng = np.random.default_rng(0)
    with small_disk(tmp_path / "disk", kilobytes=20) as disk:
        with pytest.raises(OSError, match=r"No space left on device: '.*a\.mp4'") as raised:
            with VideoWriter(disk / "a.mp4", fps=10) as video:
                for _ in range(frames):
                    video.write(rng.integers(0, 256, (240, 320, 3), np.uint8))
        assert raised.value.errno == errno.ENOSPC


def test_a_video_that_ffmpeg_cannot_write_is_an_error(tmp_path):
    with pytest.raises(FfmpegError, match=r"ffmpeg failed while it wrote .*a\.unknown"):
        with VideoWriter(tmp_path / "a.unknown", fps=10) as video:
            video.write(np.zeros((32, 32, 3), np.uint8))


def test_a_video_without_frames_is_no_file(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", fps=10):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fps, scale, word", [(0, 1, "fps is 0"), (10, 0, "scale is 0"), (10, 1.5, "scale is 1.5")])
def test_bad_settings_are_named(tmp_path, fps, scale, word):
    with pytest.raises(ValueError, match=word):
        VideoWriter(tmp_path / "a.mp4", fps=fps, scale=scale)


@pytest.mark.parametrize("frame", [np.zeros((8, 8, 3)), np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8)])
def test_a_frame_of_another_kind_is_refused(tmp_path, frame):
    with VideoWriter(tmp_path / "a.mp4", fps=10) as video, pytest.raises(ValueError, match="uint8"):
        video.write(frame)


def test_pad_keeps_the_frame_in_the_top_left_corner():
    frame = np.full((17, 32, 3), 9, np.uint8)
    padded = pad(frame)
    assert padded.shape == (32, 32, 3)
    assert np.array_equal(padded[:17], frame) and not padded[17:].any()


def test_tile_fills_rows_first():
    frames = [np.full((2, 3, 3), i + 1, np.uint8) for i in range(5)]
    grid = tile(frames)
    assert grid.shape == (4, 9, 3)
    assert grid[::2, ::3, 0].tolist() == [[1, 2, 3], [4, 5, 0]]
    with pytest.raises(ValueError, match="no frames"):
        tile([])


def test_each_episode_becomes_one_file_with_its_terminal_frame(tmp_path):
    with RecordEpisodes(Counter(), tmp_path, prefix="count", scale=2) as env:
        for _ in range(2):
            env.reset()
            done = False
            while not done:
                _, _, done, _, _ = env.step(0)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["count-episode-0.mp4", "count-episode-1.mp4"]
    frames, fps = decode(tmp_path / "count-episode-1.mp4")
    assert fps == 5 and frames.shape[1:3] == (64, 96)
    assert levels(frames) == [0, 1, 2, 3]


def test_an_error_in_a_step_leaves_a_playable_video(tmp_path):
    env = RecordEpisodes(Counter(), tmp_path)
    env.reset()
    env.step(0)
    with pytest.raises(RuntimeError, match="boom"):
        env.step(1)
    assert levels(decode(tmp_path / "nc_gym-episode-0.mp4")[0]) == [0, 1]


def test_an_environment_is_closed_although_its_video_fails(tmp_path, monkeypatch):
    closed = []
    monkeypatch.setattr(Counter, "close", lambda self: closed.append(self))

    def fail(self):
        self.end()
        raise FfmpegError("no more")

    monkeypatch.setattr(FramePipe, "close", fail)
    for env in (
        RecordEpisodes(Counter(), tmp_path),
        RecordVector(SyncVectorEnv([Counter], copy=False), tmp_path / "vector.mp4"),
    ):
        env.reset(seed=0)
        with pytest.raises(FfmpegError, match="no more"):
            env.close()
    assert len(closed) == 2


def test_an_environment_without_frames_is_refused(tmp_path):
    with pytest.raises(ValueError, match="render_mode is None"):
        RecordEpisodes(Counter(render_mode=None), tmp_path)


@pytest.mark.parametrize(
    "mode, shown", [(AutoresetMode.SAME_STEP, [0, 1, 2, 3, 1]), (AutoresetMode.NEXT_STEP, [0, 1, 2, 3, 0])]
)
def test_vector_video_tiles_rows_and_keeps_the_terminal_frame(tmp_path, mode, shown):
    env = RecordVector(SyncVectorEnv([Counter] * 3, autoreset_mode=mode), tmp_path / "v.mp4")
    env.reset()
    for _ in range(4):
        env.step(np.zeros(3, int))
    env.close()
    frames, _ = decode(tmp_path / "v.mp4")
    assert frames.shape == (5, 64, 96, 3)  # 2 × 2 tiles of 32 × 48, one place empty
    for row, column in [(0, 0), (0, 48), (32, 0)]:
        assert levels(frames[:, row:, column:]) == shown
    assert frames[:, 36:, 52:].max() < 20


def test_a_terminal_observation_is_enlarged_to_the_size_of_the_rendered_frame():
    fitted = fit(np.full((3, 4, 3), 7, np.uint8), (8, 9, 3))
    assert fitted.shape == (8, 9, 3)
    assert (fitted[:6, :8] == 7).all() and not fitted[6:].any() and not fitted[:, 8:].any()


def test_strip_shows_evenly_spaced_frames_up_to_the_last(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", fps=10, scale=1) as video:
        for i in range(9):
            video.write(np.full((16, 16, 3), i * 30, np.uint8))
    picture = np.asarray(imageio.imread(strip(tmp_path / "a.mp4", tmp_path / "a.png", count=3)))
    assert picture.shape == (48, 16, 3)
    assert (picture[8::16, 8, 0] / 30).round().tolist() == [2, 5, 8]


def test_what_is_no_video_is_refused(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"a\.mp4"):
        list(read_frames(tmp_path / "a.mp4"))


def test_a_name_with_a_line_break_is_drawn() -> None:
    """A card may call a word "ls\\n"; the font has no glyph of a line break."""
    assert bytes(text_chars("ls\n", 4)) == b"ls? "
    assert draw_line(text_chars("ls\n", 4)).shape == (16, 32, 3)
