"""The desktop's environments on the real machine: the contract, every task, and what only a pointer brings along.

The neural desktop gets the same contract as soon as ``weights/desktop`` exists.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from contract import EnvContract, VectorEnvContract, equal_pixels

from nc_gym.machines.desktop_events import KEYS, event
from nc_gym.paths import data_root

FREE, OPEN, CLOSE = "nc_gym/Desktop-v0", "nc_gym/DesktopOpenProgram-v0", "nc_gym/DesktopCloseWindow-v0"
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
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    if request.param == "neural" and not WEIGHTS.is_dir():
        pytest.skip("weights/desktop does not exist yet")
    return {"machine": request.param}


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


class TestWordsContract(WordActor, EnvContract):
    @pytest.fixture
    def env_id(self) -> str:
        return CLOSE

    @pytest.fixture
    def options(self, options: dict[str, Any]) -> dict[str, Any]:
        return options | {"actions": "words", "obs": "chars"}

    def test_rgb_array_frames(self, env_id: str, options: dict[str, Any]) -> None:
        super().test_rgb_array_frames(env_id, options | {"obs": "screen"})


class TestPointerVectorContract(PointerActor, VectorEnvContract):
    @pytest.fixture
    def env_id(self) -> str:
        return FREE


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
