"""Stable-Baselines3 over the batched machine: a ``VecEnv`` adaptor; ``nc_gym.extractors`` has the policies.

SB3's ``VecEnv`` is another interface than Gymnasium's ``VectorEnv``; ``ComputerVecEnv`` translates::

    envs = gym.make_vec("nc_gym/TerminalEcho-v0", num_envs=32, obs="chars", autoreset_mode="SameStep")
    model = PPO(CopyingPolicy, ComputerVecEnv(envs), policy_kwargs=CHARS_POLICY)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from nc_gym.engine import NO_CURSOR
from nc_gym.env import ComputerEnv, check_options
from nc_gym.frames import text_chars
from nc_gym.machines.terminal import COLUMNS
from nc_gym.vector_env import ComputerVectorEnv

try:
    from stable_baselines3.common.vec_env import VecEnv

    from nc_gym.extractors import (
        CHARS_POLICY,
        LATENT_POLICY,
        CharsExtractor,
        CopyingPolicy,
        LatentExtractor,
        MaskableCopyingPolicy,
        teach_copying,
    )
except ImportError as error:
    raise gym.error.DependencyNotInstalled(
        "nc_gym.sb3 needs stable-baselines3, which is not installed; run `pip install '.[sb3]'` in the checkout"
    ) from error

_PER_ROW_METHODS = ("action_masks", "idle", "oracle")  # methods of ComputerVectorEnv that return one value per row
_SINGLE = {"observation_space": "single_observation_space", "action_space": "single_action_space"}

__all__ = [
    "CHARS_POLICY", "LATENT_POLICY", "CharsExtractor", "CharsObservation", "ComputerVecEnv", "CopyingPolicy",
    "LatentExtractor", "MaskableCopyingPolicy", "teach_copying",
]  # fmt: skip


class ComputerVecEnv(VecEnv):
    """N computers as an SB3 ``VecEnv``.

    Args:
        env: what ``gym.make_vec(id, num_envs=N, autoreset_mode="SameStep")`` returns.
    """

    def __init__(self, env: gym.vector.VectorEnv) -> None:
        if not isinstance(env, ComputerVectorEnv):
            raise TypeError(
                f"{env} is no ComputerVectorEnv; pass what gym.make_vec(id, num_envs=N) of an nc_gym id returns"
            )
        if env.autoreset_mode is not AutoresetMode.SAME_STEP:
            raise ValueError(
                f'autoreset_mode is {env.autoreset_mode.value!r}; SB3 needs make_vec(..., autoreset_mode="SameStep")'
            )
        if env.output != "numpy":
            raise ValueError(f"output is {env.output!r}; SB3 takes arrays: leave out output= in make_vec")
        self.env = env  # before super().__init__, which asks for the render mode
        self._actions: NDArray[np.int64] = np.zeros(env.num_envs, np.int64)
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self.metadata = dict(env.metadata)

    def reset(self) -> NDArray[Any]:
        """Boots all rows, with the seeds of the last ``seed()`` if they were not used yet."""
        for options in self._options:
            check_options(options, allowed=())
        observations, infos = self.env.reset(seed=self._seeds)
        self._reset_seeds()
        self._reset_options()
        for row in range(self.num_envs):
            self._note_reset(row, infos)
        return observations

    def _note_reset(self, row: int, infos: dict[str, Any]) -> None:
        self.reset_infos[row] = {"instruction": infos["instruction"][row]}

    def step_async(self, actions: NDArray[np.int64]) -> None:
        """Takes the actions (N,) of the next ``step_wait``."""
        self._actions = actions

    def step_wait(self) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Steps all rows. A finished row has booted again; its info says how it ended, all other infos are empty.

        On a real machine it also says whether the episode ended because its computer, or a program of it, died or
        hung: "restarted".
        """
        observations, rewards, terminated, truncated, batch = self.env.step(self._actions)
        done = terminated | truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for row in np.flatnonzero(done):
            last = batch["final_info"]
            infos[row] = {
                "terminal_observation": batch["final_obs"][row],
                "TimeLimit.truncated": bool(truncated[row] and not terminated[row]),
                "is_success": bool(last["is_success"][row]),
                "instruction": last["instruction"][row],
            }
            if "restarted" in last:
                infos[row]["restarted"] = bool(last["restarted"][row])
            self._note_reset(int(row), batch)
        return observations, rewards.astype(np.float32), done, infos

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """Returns the rendered frame of each row."""
        frames = self.env.render()
        return [None] * self.num_envs if frames is None else list(frames)

    def get_attr(self, attr_name: str, indices: int | Iterable[int] | None = None) -> list[Any]:
        """Returns the attribute for each row of ``indices``; the rows share it."""
        value = getattr(self.env, _SINGLE.get(attr_name, attr_name))
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: int | Iterable[int] | None = None) -> None:
        """Sets an attribute of the batch; it can not be set for some rows only."""
        if len(set(self._get_indices(indices))) != self.num_envs:
            raise ValueError(f"{attr_name!r} belongs to all {self.num_envs} rows; set it with indices=None")
        setattr(self.env, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: int | Iterable[int] | None = None, **method_kwargs: Any
    ) -> list[Any]:
        """Calls a method of the batch once and returns its value for each row of ``indices``."""
        result = getattr(self.env, method_name)(*method_args, **method_kwargs)
        return [result[row] if method_name in _PER_ROW_METHODS else result for row in self._get_indices(indices)]

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper], indices: int | Iterable[int] | None = None
    ) -> list[bool]:
        """Returns False for each row of ``indices``: a row has no wrappers."""
        return [False for _ in self._get_indices(indices)]

    def close(self) -> None:
        """Closes the computers; safe to call twice."""
        self.env.close()


class CharsObservation(gym.Wrapper[NDArray[np.uint8], np.int64, NDArray[Any], np.int64]):
    """The observation ``obs="chars"`` for an environment that was made with another one, taken from ``info``.

    RL-Zoo gives its evaluation environment no keyword arguments from a yml, but wraps it: ``agents/*.yml`` name this.

    Args:
        env: a single environment of nc_gym.
    """

    def __init__(self, env: gym.Env[NDArray[Any], np.int64]) -> None:
        super().__init__(env)
        computer = env.unwrapped
        assert isinstance(computer, ComputerEnv)
        space: gym.Space[Any] = computer.chars_space
        self.observation_space = space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.uint8], dict[str, Any]]:
        """Boots the computer."""
        _, info = self.env.reset(seed=seed, options=options)
        return _chars(info), info

    def step(self, action: np.int64) -> tuple[NDArray[np.uint8], Any, bool, bool, dict[str, Any]]:
        """Sends one action."""
        _, reward, terminated, truncated, info = self.env.step(action)
        return _chars(info), reward, terminated, truncated, info


def _chars(info: dict[str, Any]) -> NDArray[np.uint8]:
    """Returns banner, screen and cursor as character codes, uint8 (522,), of a desktop (4842,)."""
    cursor = np.where(info["cursor"] < 0, NO_CURSOR, info["cursor"]).astype(np.uint8)
    return np.concatenate([text_chars(info["instruction"], COLUMNS), info["chars"].ravel(), cursor])
