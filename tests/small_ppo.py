"""A small PPO on a small batch of computers, for tests that train."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from stable_baselines3 import PPO

from nc_gym.sb3 import ComputerVecEnv

ECHO = "nc_gym/TerminalEcho-v0"


def make(options: dict[str, Any], rows: int = 2, **changes: Any) -> ComputerVecEnv:
    return ComputerVecEnv(gym.make_vec(ECHO, num_envs=rows, **({"autoreset_mode": "SameStep"} | options | changes)))


def ppo(env: Any, policy: Any = "MlpPolicy", algorithm: type[PPO] = PPO, **arguments: Any) -> PPO:
    return algorithm(policy, env, n_steps=32, batch_size=32, n_epochs=1, device="cpu", seed=0, **arguments)
