"""Stable-Baselines3 over the batched machine: a ``VecEnv`` adaptor and a features extractor for characters.

SB3's ``VecEnv`` is another interface than Gymnasium's ``VectorEnv``; ``ComputerVecEnv`` translates::

    envs = gym.make_vec("nc_gym/TerminalEcho-v0", num_envs=32, obs="chars", autoreset_mode="SameStep")
    model = PPO("MlpPolicy", ComputerVecEnv(envs), policy_kwargs=CHARS_POLICY)
    teach_copying(model.policy)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from torch import Tensor, nn

from nc_gym.env import check_options
from nc_gym.machines.keys import KEY_INDEX
from nc_gym.machines.terminal import COLUMNS, ROWS
from nc_gym.vector_env import ComputerVectorEnv

try:
    from stable_baselines3.common.policies import ActorCriticPolicy
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
    from stable_baselines3.common.vec_env import VecEnv
except ImportError as error:
    raise gym.error.DependencyNotInstalled(
        "nc_gym.sb3 needs stable-baselines3, which is not installed; run `pip install nc-gym[sb3]`"
    ) from error

_PER_ROW_METHODS = ("action_masks", "oracle")  # methods of ComputerVectorEnv that return one value per row
_SINGLE = {"observation_space": "single_observation_space", "action_space": "single_action_space"}
GLYPHS = 96  # printable ASCII and the replacement box


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
        """Steps all rows. A finished row has booted again; its info says how it ended, all other infos are empty."""
        observations, rewards, terminated, truncated, batch = self.env.step(self._actions)
        done = terminated | truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for row in np.flatnonzero(done):
            infos[row] = {
                "terminal_observation": batch["final_obs"][row],
                "TimeLimit.truncated": bool(truncated[row] and not terminated[row]),
                "is_success": bool(batch["final_info"]["is_success"][row]),
                "instruction": batch["final_info"]["instruction"][row],
            }
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


class CharsExtractor(BaseFeaturesExtractor):
    """Features of ``obs="chars"``: what stands left of the cursor, and characters that attention reads off the screen.

    Each read head names a row and a distance from the cursor's column by a query made from the text left of the cursor,
    and returns how likely it saw each character there: 96 numbers that a policy can copy to the keyboard.

    Args:
        observation_space: ``Box(0, 255, (522,), uint8)``.
        width: size of the embeddings; the text left of the cursor gets four times as many features.
        heads: number of read heads.
        window: how many characters left of the cursor are looked at.
    """

    def __init__(self, observation_space: spaces.Box, width: int = 32, heads: int = 4, window: int = 12) -> None:
        expected = ((ROWS + 1) * COLUMNS + 2,)
        if observation_space.shape != expected:
            raise ValueError(f'observations have shape {observation_space.shape}, not {expected}; use obs="chars"')
        super().__init__(observation_space, features_dim=width * 4 + heads * GLYPHS)
        self.heads, self.window, self.width = heads, window, width
        self.characters = nn.Embedding(GLYPHS, width)
        self.columns = nn.Embedding(COLUMNS + 1, width)  # the last one stands for a cursor that is nowhere
        self.local = nn.Sequential(nn.Linear(window * width + width, width * 4), nn.LayerNorm(width * 4), nn.ReLU())
        self.query = nn.Linear(width * 4, heads * width)
        self.row_keys = nn.Parameter(torch.randn(ROWS + 1, width) / width**0.5)
        self.distance_keys = nn.Parameter(torch.randn(2 * COLUMNS - 1, width) / width**0.5)
        self.row_bias = nn.Parameter(torch.zeros(ROWS + 1))
        nn.init.constant_(self.row_bias[:1], 4.0)  # at birth the heads read the instruction

    def forward(self, observations: Tensor) -> Tensor:
        """Returns features float (B, features_dim) of observations (B, 522)."""
        codes = observations.long()
        cells = (codes[:, :-2] - 32).clamp(0, GLYPHS - 1)  # (B, 520), banner first
        row, column = codes[:, -2].clamp(max=ROWS - 1), codes[:, -1].clamp(max=COLUMNS)
        local = self._local(cells, row, column)  # (B, 4 width)
        return torch.cat([local, self._read(cells, column.clamp(max=COLUMNS - 1), local)], 1)

    def _local(self, cells: Tensor, row: Tensor, column: Tensor) -> Tensor:
        """Returns features of the characters left of the cursor and of its column, float (B, 4 width)."""
        end = (row + 1) * COLUMNS + column.clamp(max=COLUMNS - 1)
        offsets = torch.arange(-self.window, 0, device=cells.device)
        left = cells.gather(1, end[:, None] + offsets)  # (B, window); the banner lies before the first row
        embedded = torch.cat([self.characters(left).flatten(1), self.columns(column)], 1)
        return self.local(embedded)

    def _read(self, cells: Tensor, column: Tensor, local: Tensor) -> Tensor:
        """Returns how much of each character each head saw, float (B, heads * 96)."""
        query = self.query(local).view(-1, self.heads, self.width)
        distance = torch.arange(COLUMNS, device=cells.device) - column[:, None] + COLUMNS - 1  # (B, 40)
        distance = distance[:, None].expand(-1, self.heads, -1)
        across = (query @ self.distance_keys.T).gather(2, distance)  # (B, heads, 40)
        down = query @ self.row_keys.T + self.row_bias  # (B, heads, 13)
        share = down.softmax(2)[..., :, None] * across.softmax(2)[..., None, :]  # (B, heads, 13, 40)
        seen = torch.zeros(*query.shape[:2], GLYPHS, device=cells.device)
        index = cells[:, None].expand(-1, self.heads, -1)
        return seen.scatter_add(2, index, share.flatten(2)).flatten(1)


CHARS_POLICY: dict[str, Any] = {"features_extractor_class": CharsExtractor, "net_arch": {"pi": [], "vf": [64]}}
"""``policy_kwargs`` for ``obs="chars"``: the actor is linear in the extractor's features, so that it can copy."""


def teach_copying(policy: ActorCriticPolicy, strength: float = 4.0) -> None:
    """Makes a new ``CHARS_POLICY`` policy able to copy: each read head votes for the key that types what it sees.

    Which places to read, and when to copy, is left to learning. Without this, each letter is discovered by chance.

    Args:
        policy: ``model.policy`` of a new model, changed in place.
        strength: the weight of a head's vote, in logits. Blanks get none: they are everywhere.
    """
    extractor, actor = policy.features_extractor, policy.action_net
    if not isinstance(extractor, CharsExtractor) or not isinstance(actor, nn.Linear):
        raise TypeError(
            f"the policy extracts features by {type(extractor).__name__}; make it with policy_kwargs=CHARS_POLICY"
        )
    first = extractor.features_dim - extractor.heads * GLYPHS
    with torch.no_grad():
        for head in range(extractor.heads):
            for glyph in range(1, GLYPHS - 1):
                actor.weight[KEY_INDEX[chr(32 + glyph)], first + head * GLYPHS + glyph] = strength
