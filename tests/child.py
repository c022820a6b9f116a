"""Work for a fresh child process. Imports nothing of nc_gym: Gymnasium must find it through the id."""

from __future__ import annotations

import gymnasium as gym


def make_and_step(_: int) -> tuple[int, ...]:
    with gym.make("nc_gym:nc_gym/Terminal-v0", machine="real") as env:
        env.reset(seed=0)
        return env.step(0)[0].shape
