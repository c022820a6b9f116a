"""The batch of computers that an agent learns in or is judged on: every choice that makes it, as one plain value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym

import nc_gym
from nc_gym.paths import data_root
from nc_gym.registration import check_registered, load_card
from nc_gym.vector_env import ComputerVectorEnv

gym.register_envs(nc_gym)


@dataclass(frozen=True)
class EnvSetting:
    """Which computers; ``None`` leaves a choice to the environment.

    Attributes:
        env: a registered id of nc_gym.
        machine: "neural" or "real".
        obs: "screen", "chars" or "latent".
        actions: the action preset, "keys" (of a desktop "pointer") or "words".
        split: whose task parameters are drawn, "train" or "test".
        weights: weights folder.
        device: torch device of the network.
        denoise_steps: denoising steps per screen.
        max_episode_steps: horizon.
    """

    env: str
    machine: str = "neural"
    obs: str = "chars"
    actions: str | None = None
    split: str = "train"
    weights: str | None = None
    device: str = "auto"
    denoise_steps: int | None = None
    max_episode_steps: int | None = None

    def __post_init__(self) -> None:
        check_registered(self.env)

    def open(self, rows: int, autoreset: str, render_mode: str | None = None, audit: bool = True) -> ComputerVectorEnv:
        """Opens ``rows`` of these computers.

        Args:
            rows: N.
            autoreset: "SameStep" to learn in (SB3's way), "Disabled" to be judged on.
            render_mode: None, "rgb_array" or "ansi".
            audit: whether successes on a real machine are confirmed by its files, which takes time.
        """
        limit: dict[str, Any] = {} if self.max_episode_steps is None else {"max_episode_steps": self.max_episode_steps}
        envs: Any = gym.make_vec(
            self.env, num_envs=rows, autoreset_mode=autoreset, machine=self.machine, obs=self.obs,
            weights=self.weights, device=self.device, denoise_steps=self.denoise_steps, actions=self.actions,
            split=self.split, render_mode=render_mode, audit=audit, **limit,
        )  # fmt: skip
        assert isinstance(envs, ComputerVectorEnv)
        return envs

    @property
    def preset(self) -> str:
        """The action preset, also if it was left to the environment."""
        return self.actions or load_card(self.card).environments[self.env].actions

    @property
    def card(self) -> str:
        """The environment's card, as ``load_card`` takes it."""
        return str(gym.spec(self.env).kwargs["card"])

    @property
    def weights_file(self) -> Path | None:
        """The network's file, or None if no network runs."""
        if self.machine == "real" and self.obs != "latent":
            return None
        return Path(self.weights or data_root() / "weights" / load_card(self.card).machine) / "model.safetensors"
