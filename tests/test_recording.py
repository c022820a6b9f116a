"""Agents are filmed on the neural machine, on the real one, and on both under the same events."""

import gymnasium as gym
import numpy as np
import pytest

from nc_gym.comparison import RED
from nc_gym.machines.keys import NOOP, encode
from nc_gym.recording import Side, film_episode, follow, load_agent, obs_mode, open_sides, record_episodes
from nc_gym.video import VideoWriter, read_frames

ECHO, FREE = "nc_gym/TerminalEcho-v0", "nc_gym/Terminal-v0"
HOLD = 10  # frames: one second


def decode(path):
    return np.stack(list(read_frames(path)))


def film(sides, events, path, seed=0):
    with VideoWriter(path, fps=10) as video:
        outcome = film_episode(sides, lambda env, seed: follow(events, env), seed, video, limit=len(events))
    for side in sides:
        side.env.close()
    return outcome


def red_pixels(frames):
    """Red boxes survive the video's colour coding only roughly."""
    return (np.abs(frames.astype(int) - RED).max(axis=-1) < 60).sum()


def test_two_real_machines_agree_and_get_no_box(tmp_path):
    sides = [Side(FREE, "real", "screen"), Side(FREE, "real", "screen")]
    outcome = film(sides, encode("echo ab\n"), tmp_path / "a.mp4")
    frames = decode(tmp_path / "a.mp4")
    assert frames.shape == (8 + 1 + HOLD, 480, 1296, 3)
    assert outcome.agreement.characters == [1.0] * 8 and outcome.agreement.share_exact == 1.0
    assert red_pixels(frames) == 0
    assert np.abs(frames[-1, 64:, :640].astype(int) - frames[-1, 64:, -640:]).mean() < 2


def test_a_neural_machine_is_compared_with_bash_under_the_same_events(tmp_path, tiny_weights):
    sides = open_sides(FREE, "both", "screen", str(tiny_weights))
    outcome = film(sides, encode("ls\n"), tmp_path / "a.mp4")
    assert len(outcome.agreement.exact) == 3 == outcome.steps
    assert outcome.agreement.share_exact < 1  # its weights are random
    assert red_pixels(decode(tmp_path / "a.mp4")) > 0
    assert set(outcome.returns) == {"neural", "real"}


def test_record_films_both_sides_and_prints_the_comparison(tmp_path, tiny_weights, capsys):
    (outcome,) = record_episodes(ECHO, "oracle", "both", tmp_path / "a.mp4", 3, 1, str(tiny_weights))
    assert outcome.seed == 3 and outcome.success["real"]
    assert "Closed loop" in capsys.readouterr().out
    assert len(decode(tmp_path / "a.mp4")) == outcome.steps + 1 + HOLD


def test_a_desktop_is_filmed_beside_the_real_one(tmp_path, tiny_desktop_weights):
    task = "nc_gym/DesktopOpenProgram-v0"
    (outcome,) = record_episodes(task, "oracle", "both", tmp_path / "a.mp4", 3, 1, str(tiny_desktop_weights))
    frames = decode(tmp_path / "a.mp4")
    assert outcome.success["real"] and len(frames) == outcome.steps + 1 + HOLD
    assert red_pixels(frames[-1:]) > 0  # its weights are random, and the two screens differ


def test_an_episode_that_ended_keeps_its_last_screen():
    side = Side(ECHO, "real", "screen")
    side.reset(seed=0)
    for event in side.env.unwrapped.oracle():
        side.step(event)
    assert side.done and side.info["is_success"] and side.total == pytest.approx(1.0)
    last = side.screen()
    side.step(encode("x")[0])
    assert np.array_equal(side.screen(), last)
    side.env.close()


def test_a_screen_is_the_observation_whatever_the_agent_sees():
    pixels, chars = Side(ECHO, "real", "screen"), Side(ECHO, "real", "chars")
    for side in (pixels, chars):
        side.reset(seed=5)
    assert chars.obs.shape == (522,)
    assert np.array_equal(pixels.screen(), pixels.obs) and np.array_equal(chars.screen(), pixels.obs)
    for side in (pixels, chars):
        side.env.close()


def test_random_agent_is_seeded():
    start = load_agent("random").start
    with gym.make(ECHO, machine="real", actions="words") as env:
        draws = [[policy(None) for _ in range(20)] for policy in (start(env, 1), start(env, 1), start(env, 2))]
        assert draws[0] == draws[1] != draws[2] and max(draws[0]) < env.action_space.n


def test_followed_events_are_sent_whatever_is_seen_then_no_ops():
    with gym.make(ECHO, machine="real", actions="keys") as env:
        policy = follow([5, 6], env)
        assert [policy("anything") for _ in range(4)] == [5, 6, NOOP, NOOP]


def test_a_policy_that_nc_gym_did_not_train_is_refused(tmp_path):
    from stable_baselines3 import PPO

    env = gym.make(ECHO, machine="real", obs="chars")
    PPO("MlpPolicy", env, n_steps=8, batch_size=8, device="cpu", policy_kwargs={"net_arch": [8]}).save(
        tmp_path / "p.zip"
    )
    env.close()
    with pytest.raises(ValueError, match=r"p\.zip does not say what it was trained for"):
        record_episodes(ECHO, str(tmp_path / "p.zip"), "real", tmp_path / "a.mp4", 0, 1, trust=True)


@pytest.mark.parametrize("shape, mode", [((208, 320, 3), "screen"), ((3, 208, 320), "screen"), ((522,), "chars")])
def test_the_observation_mode_follows_from_the_policy_s_input(shape, mode):
    assert obs_mode(shape) == mode


def test_a_policy_for_other_observations_is_refused():
    with pytest.raises(ValueError, match=r"\(4, 3, 2, 1\)"):
        obs_mode((4, 3, 2, 1))


def test_a_side_that_has_ended_is_no_longer_compared(tmp_path):
    """Its screen stands still while the other one goes on."""
    sides = [Side(FREE, "real", "screen"), Side(FREE, "real", "screen")]
    sides[1].env = gym.wrappers.TimeLimit(sides[1].env, 3)
    outcome = film(sides, encode("echo ab\n"), tmp_path / "a.mp4")
    assert outcome.steps == 8 and outcome.agreement.characters == [1.0] * 3
