"""The desktop's environments: the contract on the real desktop and on a neural one, and the specs of all ids.

Neural is that of ``weights/desktop``, where it exists, or a tiny one with random weights.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from contract import EnvContract, VectorEnvContract, assert_same, equal_pixels
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env

from nc_gym.machines.desktop_events import KEYS, event
from nc_gym.paths import data_root
from nc_gym.registration import card_names, load_card

FREE, OPEN, CLOSE = "nc_gym/Desktop-v0", "nc_gym/DesktopOpenProgram-v0", "nc_gym/DesktopCloseWindow-v0"
ALL = [id for name in card_names() for id in load_card(name).environments]  # of both cards
WEIGHTS = data_root() / "weights" / "desktop"
PLACES = [(8, 8), (160, 40), (56, 228), (20, 100), (300, 150), (240, 210)]
EVENTS = [
    *(event(x, y) for x, y in PLACES),
    event(8, 8, key="a"),
    event(160, 40, key="b"),
    event(8, 8, key="Backspace"),
]
EVENTS += [event(56, 228, "left click"), event(160, 40, "left click"), event(300, 150, key="x")]  # the first opens Term


@pytest.fixture(params=["real", "neural"])
def options(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    if request.param == "neural" and not WEIGHTS.is_dir():
        pytest.skip("weights/desktop does not exist yet")
    # In bf16 the number of patches painted at once decides how a product rounds, and so some close choices (24 of
    # 116,208 characters on a CPU with AMX). What rows and batches must not change is seen in float32.
    monkeypatch.setattr("nc_gym.computer.computer.running_dtype", lambda device, paints_patches: torch.float32)
    return {"machine": request.param}


@pytest.fixture
def tiny_desktop(tiny_desktop_weights: Path) -> dict[str, Any]:
    """The keyword arguments that make a tiny neural desktop."""
    return {"machine": "neural", "weights": str(tiny_desktop_weights), "device": "cpu"}


class PointerActor:
    """Moves, typing, and clicks that open a terminal or raise a window."""

    alphabet = np.array(EVENTS)
    idle = np.array(event(160, 120))
    visible = np.array(event(56, 228, "left click"))
    invalid = (0, "ls", None, np.array([80, 0, 0, 0]), np.array([0, 0, 8, 0]), np.array([0, 0, 0, len(KEYS)]),
               np.array([-1, 0, 0, 0]), np.array([0.5, 0, 0, 0]), np.array([1, 2]))  # fmt: skip
    invalid_rows = ([0, 0], [[0, 0, 0, 0]], [[0, 0, 0, 0], [80, 0, 0, 0]], [[0.5, 0, 0, 0]] * 2, [[0, -1, 0, 0]] * 2)
    steps = 25
    chars = (60, 80)


class WordActor(PointerActor):
    """Clicks that raise windows, and typing."""

    alphabet = np.array([0, 1, 5, 30, 61, 906, 908, 909])  # 1 to 300 are clicks, from 901 on keys and texts
    idle = 0
    visible = 911
    invalid = (-1, 919, 1.5, "ls", np.array([1, 2]), None)
    invalid_rows = ([0], [0, 919], [-1, 0], [0.5, 0.5], [[0, 0]])


class TestPointerContract(PointerActor, EnvContract):
    @pytest.fixture
    def env_id(self) -> str:
        return FREE


class CloseByWords(WordActor):
    @pytest.fixture
    def env_id(self) -> str:
        return CLOSE

    @pytest.fixture
    def options(self, options: dict[str, Any]) -> dict[str, Any]:
        return options | {"actions": "words", "obs": "chars"}


class TestWordsContract(CloseByWords, EnvContract):
    def test_rgb_array_frames(self, env_id: str, options: dict[str, Any]) -> None:
        super().test_rgb_array_frames(env_id, options | {"obs": "screen"})


class TestOpenProgramContract(WordActor, EnvContract):
    """The task with the shortest episodes; the neural desktop is a tiny one."""

    @pytest.fixture
    def env_id(self) -> str:
        return OPEN

    @pytest.fixture(params=["real", "neural"])
    def options(self, request: pytest.FixtureRequest, tiny_desktop: dict[str, Any]) -> dict[str, Any]:
        return {"machine": "real"} if request.param == "real" else tiny_desktop


class TestPointerVectorContract(PointerActor, VectorEnvContract):
    @pytest.fixture
    def env_id(self) -> str:
        return FREE


class TestWordsVectorContract(CloseByWords, VectorEnvContract):
    pass


@pytest.mark.parametrize("task", ["RaiseWindow", "MoveWindow", "Calculate", "TypeInTerminal"])
@pytest.mark.parametrize("machine", ["real", "neural"])
def test_gymnasium_s_checker_is_silent_for_the_other_tasks(  # B1
    task: str, machine: str, tiny_desktop: dict[str, Any]
) -> None:
    options = {"machine": "real"} if machine == "real" else tiny_desktop
    with gym.make(f"nc_gym/Desktop{task}-v0", **options) as env, warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)


@pytest.mark.parametrize("any_id", ALL)
def test_spec_of_every_id_is_complete_and_makes_it_again_from_json(any_id: str) -> None:  # A5, A6
    spec = gym.spec(any_id)
    assert re.fullmatch(r"nc_gym/([A-Z][a-z]+)+-v\d+", any_id)
    assert isinstance(spec.entry_point, str) and isinstance(spec.vector_entry_point, str)
    assert spec.max_episode_steps > 0 and spec.nondeterministic is False
    task = load_card(spec.kwargs["card"]).environments[any_id].task
    assert (spec.reward_threshold is None) == (not task.success)
    copy = EnvSpec.from_json(spec.to_json())
    assert copy == spec
    with gym.make(copy, machine="real") as env:
        assert env.unwrapped.spec.kwargs == spec.kwargs | {"machine": "real"}
        assert EnvSpec.from_json(env.spec.to_json()).max_episode_steps == spec.max_episode_steps


def test_restored_desktop_continues_exactly_from_the_snapshot(tiny_desktop: dict[str, Any]) -> None:
    env = gym.make(FREE, obs="latent", **tiny_desktop).unwrapped
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(20)]
    first, _ = env.reset(seed=4)
    assert env.observation_space.contains(first) and first.shape == (320 + 4800, 8)  # banner and screen
    for action in actions[:10]:
        last = env.step(action)
    assert_same(last[0][:320], first[:320])
    assert (last[0] != first).any()
    state = env.snapshot()
    future = [env.step(action) for action in actions[10:]]
    next_episode = env.reset()
    assert_same(env.restore(state), (last[0], last[4]))
    assert_same([env.step(action) for action in actions[10:]], future)
    assert_same(env.reset(), next_episode)
    env.close()


def test_forked_desktops_continue_like_the_one_they_come_from(tiny_desktop: dict[str, Any]) -> None:
    envs = gym.make_vec(FREE, num_envs=2, obs="latent", **tiny_desktop)
    envs.reset(seed=0)
    envs.action_space.seed(0)
    for _ in range(6):
        envs.step(envs.action_space.sample())
    forks = envs.fork(1, 3)
    for _ in range(6):
        actions = envs.action_space.sample()
        obs, *_, infos = envs.step(actions)
        forked, *_, forked_infos = forks.step(actions[[1, 1, 1]])
        for row in range(3):
            assert_same(forked[row], obs[1])
            assert_same(forked_infos["cursor"][row], infos["cursor"][1])
    parted, *_ = forks.step(np.array([event(8, 8), event(160, 40), event(300, 150)]))
    assert not np.array_equal(parted[0], parted[1])
    forks.close()
    envs.close()


def test_random_pointers_go_through_the_adaptor_of_sb3(options: dict[str, Any]) -> None:
    from nc_gym.sb3 import ComputerVecEnv

    envs = ComputerVecEnv(gym.make_vec(FREE, num_envs=2, max_episode_steps=3, autoreset_mode="SameStep", **options))
    first = envs.reset()
    for _ in range(3):
        observations, _, done, infos = envs.step(np.array([envs.action_space.sample() for _ in range(2)]))
    assert done.all() and infos[0]["TimeLimit.truncated"] and equal_pixels(observations, first) == 1
    envs.close()


def test_policies_of_a_desktop_read_banner_and_screen(options: dict[str, Any]) -> None:
    from stable_baselines3 import PPO

    from nc_gym.sb3 import CHARS_POLICY, ComputerVecEnv, CopyingPolicy

    envs = gym.make_vec(OPEN, num_envs=2, obs="chars", autoreset_mode="SameStep", **options)
    model = PPO(CopyingPolicy, ComputerVecEnv(envs), policy_kwargs=CHARS_POLICY, n_steps=4, batch_size=8, device="cpu")
    model.learn(8)
    observations, _ = envs.reset(seed=0)
    changed = observations.copy()
    changed[0, 5] = ord("Q")  # in the banner
    changed[1, 40 + 30 * 80] = ord("Q")  # on the screen
    first, second = (model.policy.extract_features(model.policy.obs_to_tensor(o)[0]) for o in (observations, changed))
    assert first.shape == (2, 256) and (first != second).any(1).all()
    envs.close()


def test_words_point_at_the_square_around_a_pixel_and_say_which_event_no_word_does() -> None:
    with gym.make("nc_gym/DesktopOpenProgram-v0", machine="real") as env:
        env.reset(seed=0)
        env.step(env.unwrapped.pointer(84, 226, "left click"))
        assert env.unwrapped.last_action == "<left click 88 232>"
        with pytest.raises(ValueError, match=r"no word does 'wheel up 84,231'; make .* with actions=\"pointer\""):
            env.unwrapped.pointer(84, 228, "wheel up")
        with pytest.raises(ValueError, match="900"):
            env.unwrapped.pointer(900, 228, "left click")


def test_a_desktop_that_is_lost_ends_its_episode_without_a_reward() -> None:
    with gym.make("nc_gym/Desktop-v0", machine="real") as env:
        env.reset(seed=0)
        env.step(env.unwrapped.pointer(56, 230, "left click"))
        steps = [env.step(action) for action in env.unwrapped.encode("kill -9 $(pidof Xvfb)\n")]
        while not steps[-1][4]["restarted"]:
            assert len(steps) < 60
            steps.append(env.step(env.unwrapped.idle()))
        assert steps[-1][1:4] == (0.0, False, True) and not any(step[3] for step in steps[:-1])
        assert not env.reset()[1]["restarted"]
