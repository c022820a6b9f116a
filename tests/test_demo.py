"""The newcomer's demo, with a tiny neural computer in place of the shipped one."""

import imageio.v2 as imageio
import numpy as np

from nc_gym import demo
from nc_gym.video import read_frames


def test_demo_films_an_episode_and_a_session_and_prints_comparison_and_speeds(
    tmp_path, tiny_weights, capsys, monkeypatch
):
    monkeypatch.setattr(demo, "SESSION_STEPS", 6)
    monkeypatch.setattr(demo, "SPEED_SECONDS", 0.02)
    monkeypatch.setattr(demo, "SPEED_ROWS", (1, 2))
    monkeypatch.setattr(demo, "data_root", lambda: tmp_path)  # no shipped agent there
    demo.run_demo(tmp_path / "out", seed=0, weights=tiny_weights)
    printed = capsys.readouterr().out
    assert "the oracle plays instead" in printed
    assert "Closed loop" in printed and "(free use)" in printed
    assert printed.count("steps/s") == 3
    frames = list(read_frames(tmp_path / "out" / "demo.mp4"))
    hold = 10
    assert len(frames) > (6 + 1 + hold) + (1 + hold) and frames[0].shape == (480, 1296, 3)
    picture = np.asarray(imageio.imread(tmp_path / "out" / "demo.png"))
    assert picture.shape == (3 * 480, 1296, 3)
    assert np.array_equal(picture[-480:], frames[-1])
