"""Stable-Baselines3 on the batched machine: the adaptor's contract, and training that really runs."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from contract import assert_same, typing
from gymnasium.vector import AutoresetMode
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from small_ppo import ECHO, make, ppo
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecFrameStack, VecMonitor, VecNormalize, VecVideoRecorder

from nc_gym.paths import data_root
from nc_gym.sb3 import CHARS_POLICY, ComputerVecEnv, CopyingPolicy


@pytest.fixture
def small(neural: dict[str, Any]) -> dict[str, Any]:
    """A neural batch whose observations are characters: cheap to learn from."""
    return neural | {"obs": "chars"}


def test_finished_row_reports_its_last_observation_and_boots(options: dict[str, Any]) -> None:  # E1
    env = make(options, max_episode_steps=4)
    alone = gym.make_vec(ECHO, num_envs=2, max_episode_steps=9, **options)
    assert env.seed(3) == [3, 4]
    first = env.reset()
    assert_same(alone.reset(seed=3)[0], first)
    before = [dict(info) for info in env.reset_infos]
    for actions in typing(4, rows=2):
        obs, rewards, dones, infos = env.step(actions)
        last, *_ = alone.step(actions)
    assert rewards.dtype == np.float32 and dones.dtype == np.bool_ and dones.all()
    for row in range(2):
        assert_same(infos[row]["terminal_observation"], last[row])
        assert infos[row]["TimeLimit.truncated"] is True and infos[row]["is_success"] is False
        assert infos[row]["instruction"] == before[row]["instruction"]
        assert env.reset_infos[row]["instruction"] != before[row]["instruction"]
    assert not np.array_equal(obs, last)
    _, _, dones, infos = env.step(np.zeros(2, np.int64))
    assert not dones.any() and infos == [{}, {}]
    env.close()
    alone.close()


def test_success_is_not_a_truncation() -> None:  # E1
    env = make({"machine": "real"}, rows=1)
    env.seed(0)
    env.reset()
    (script,) = env.env_method("oracle")
    results = [env.step(np.array([action])) for action in script]
    (info,) = results[-1][3]
    assert [bool(r[2][0]) for r in results] == [False] * (len(script) - 1) + [True]
    assert info["is_success"] is True and info["TimeLimit.truncated"] is False and info["restarted"] is False
    assert sum(float(r[1][0]) for r in results) == pytest.approx(1)
    env.close()


def test_lost_shell_is_a_truncation_that_names_its_cause() -> None:  # E1
    env = make({"machine": "real", "obs": "chars"})
    env.seed(0)
    first = env.reset()
    instructions = [info["instruction"] for info in env.reset_infos]
    for key in env.env.encode("exit\n"):
        obs, rewards, dones, infos = env.step(np.array([key, 0]))
    assert dones.tolist() == [True, False] and not rewards.any() and infos[1] == {}
    last = infos[0].pop("terminal_observation")
    assert infos[0] == {
        "TimeLimit.truncated": True, "is_success": False, "instruction": instructions[0], "restarted": True
    }  # fmt: skip
    assert_same(last, first[0])  # a fresh shell under the banner of the episode that it ended
    assert_same(obs[0, 40:], first[0, 40:])
    assert not np.array_equal(obs[0, :40], first[0, :40])
    env.close()


def test_seeds_are_used_once(small: dict[str, Any]) -> None:  # E1
    env = make(small)
    env.seed(5)
    first, second = env.reset(), env.reset()
    assert not np.array_equal(first, second)
    env.seed(5)
    assert_same(env.reset(), first)
    env.close()


def test_attributes_methods_and_wrappers_of_rows(small: dict[str, Any]) -> None:  # E1
    env = make(small, rows=3)
    assert env.get_attr("render_mode") == [None] * 3
    assert env.get_attr("keys", indices=[0, 2]) == [env.env.keys] * 2
    assert env.get_attr("action_space", 1) == [gym.spaces.Discrete(106)]
    with pytest.raises(AttributeError):
        env.get_attr("colour")
    assert not env.has_attr("colour") and env.has_attr("keys")
    env.set_attr("colour", "green")
    assert env.get_attr("colour") == ["green"] * 3
    with pytest.raises(ValueError, match="all 3 rows"):
        env.set_attr("colour", "red", indices=0)
    assert env.env_method("idle", indices=[1]) == [0]
    masks = env.env_method("action_masks", indices=[0, 1])
    assert len(masks) == 2 and masks[0].shape == (106,) and masks[0].dtype == np.bool_
    assert env.env_method("encode", "a") == [[66]] * 3
    assert env.env_is_wrapped(gym.Wrapper) == [False] * 3
    assert env.env_is_wrapped(gym.Wrapper, indices=1) == [False]
    assert is_masking_supported(env) and get_action_masks(env).shape == (3, 106)
    assert env.metadata["render_fps"] > 0
    env.set_options({"colour": "green"})
    with pytest.raises(ValueError, match="colour"):
        env.reset()
    env.close()
    env.close()


def test_images_are_a_list_of_frames(small: dict[str, Any]) -> None:  # E1
    env = make(small, render_mode="rgb_array")
    env.reset()
    images = env.get_images()
    assert isinstance(images, list) and len(images) == 2 and images[0].dtype == np.uint8
    assert env.render().ndim == 3  # SB3 tiles them
    env.close()


def test_wrong_batches_are_refused(small: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"'NextStep'.*autoreset_mode=\"SameStep\""):
        make(small, autoreset_mode=AutoresetMode.NEXT_STEP)
    with pytest.raises(TypeError, match=r"is no ComputerVectorEnv; pass what gym\.make_vec"):
        ComputerVecEnv(gym.make_vec("CartPole-v1", num_envs=2))
    with pytest.raises(ValueError, match="output is 'torch'; SB3 takes arrays"):
        make(small, output="torch")


def test_rollouts_store_what_was_returned(small: dict[str, Any]) -> None:  # E3
    env = make(small, max_episode_steps=7)
    returned: list[np.ndarray] = []
    step, reset = env.step_wait, env.reset
    env.step_wait = lambda: keep(step())  # type: ignore[method-assign]
    env.reset = lambda: keep((reset(),))[0]  # type: ignore[method-assign]

    def keep(result: Any) -> Any:
        returned.append(result[0].copy())
        return result

    model = ppo(env)
    model.learn(64)
    stored = model.rollout_buffer.observations.astype(np.uint8)  # flattened after training: all of row 0, then row 1
    assert_same(stored.reshape(2, 32, -1), np.stack(returned[:32], axis=1))
    assert_same(model._last_obs, returned[32])
    env.close()


@pytest.mark.parametrize("machine_options", ["real", "neural"])
def test_cnn_policy_learns_from_the_id(machine_options: str, neural: dict[str, Any]) -> None:  # E4
    options = {"machine": "real"} if machine_options == "real" else neural
    env = gym.make("nc_gym/Terminal-v0", **options)
    model = PPO("CnnPolicy", env, n_steps=32, batch_size=16, n_epochs=1, device="cpu")
    model.learn(32)
    assert model.num_timesteps == 32
    model.get_env().close()


def test_cnn_policy_learns_from_the_screens_of_the_batch(neural: dict[str, Any]) -> None:  # E2
    env = make(neural | {"obs": "screen"}, max_episode_steps=5)
    model = ppo(env, "CnnPolicy")
    before = [parameter.clone() for parameter in model.policy.features_extractor.parameters()]
    model.learn(64)
    assert model.num_timesteps == 64 and model.policy.observation_space.shape == (3, 208, 320)
    after = list(model.policy.features_extractor.parameters())
    assert all((old != new).any() for old, new in zip(before, after, strict=True))
    env.close()


@pytest.mark.slow
@pytest.mark.parametrize("env_id", ["nc_gym/Terminal-v0", "nc_gym/TerminalEcho-v0"])
def test_cnn_policy_learns_from_the_bare_id_with_the_shipped_weights(env_id: str) -> None:  # E4
    if not (data_root() / "weights" / "terminal" / "model.safetensors").is_file():
        pytest.skip("weights/terminal is not there yet")
    model = PPO("CnnPolicy", env_id, n_steps=250, batch_size=50, n_epochs=1, device="cpu").learn(1000)
    assert model.num_timesteps == 1000
    model.get_env().close()


def test_ppo_and_wrappers_run_on_the_batch(small: dict[str, Any], tmp_path: Path) -> None:  # E2
    env = VecMonitor(make(small, rows=4, max_episode_steps=10))
    evaluation = VecMonitor(make(small, max_episode_steps=5))
    callback = EvalCallback(evaluation, n_eval_episodes=2, eval_freq=128, log_path=str(tmp_path), verbose=0)
    model = ppo(env, CopyingPolicy, policy_kwargs=CHARS_POLICY)
    model.learn(2048, callback=callback)
    assert len(model.ep_info_buffer) == 100 and model.ep_info_buffer[0]["l"] == 10
    assert len(model.ep_success_buffer) == 100
    assert np.load(tmp_path / "evaluations.npz")["ep_lengths"].min() == 5
    model.save(tmp_path / "policy.zip")
    loaded = PPO.load(tmp_path / "policy.zip", env=env, device="cpu")
    obs = env.reset()
    assert_same(loaded.predict(obs, deterministic=True)[0], model.predict(obs, deterministic=True)[0])
    rewards, lengths = evaluate_policy(loaded, evaluation, n_eval_episodes=4, return_episode_rewards=True)
    assert lengths == [5] * 4 and all(0 <= r <= 1 for r in rewards)
    env.close()
    evaluation.close()


def test_maskable_ppo_learns(small: dict[str, Any]) -> None:  # E2
    env = make(small, rows=4)
    model = ppo(env, algorithm=MaskablePPO)
    model.learn(2048)
    assert model.num_timesteps == 2048
    env.close()


@pytest.mark.parametrize("wrap", [lambda env: VecFrameStack(env, 2), VecNormalize])
def test_sb3_wrappers_train(wrap: Any, small: dict[str, Any]) -> None:  # E2
    env = wrap(make(small, max_episode_steps=9))
    ppo(env).learn(64)
    env.close()


def test_sb3_records_video(small: dict[str, Any], tmp_path: Path) -> None:  # E2
    pytest.importorskip("moviepy")
    env = make(small, render_mode="rgb_array")
    recorder = VecVideoRecorder(
        env, str(tmp_path / "videos"), record_video_trigger=lambda step: step == 0, video_length=3
    )
    recorder.reset()
    for actions in typing(5, rows=2):
        recorder.step(actions)
    recorder.close()
    assert list((tmp_path / "videos").glob("*.mp4"))


def test_checkers_of_sb3_stay_silent_on_characters(small: dict[str, Any]) -> None:
    from stable_baselines3.common.env_checker import check_env

    with warnings.catch_warnings(), gym.make(ECHO, **small) as env:
        warnings.simplefilter("error")
        check_env(env, warn=True)
