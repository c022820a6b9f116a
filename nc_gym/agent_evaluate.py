"""Playing episodes with given seeds in one batch of computers, and what a player scored.

Every episode seed is played exactly once, whichever row is free for it, so that short episodes count no more than long
ones. Rows that have nothing left to play go on unseen until the last episode ends.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

import nc_gym
from nc_gym.agent_env import EnvSetting
from nc_gym.agent_file import PACKAGE_SHA256, Score, TrainedAgent, sha256
from nc_gym.registration import load_card
from nc_gym.vector_env import ComputerVectorEnv

ROWS = 34  # episodes played at a time; a hundred take three turns


@dataclass(frozen=True)
class Episode:
    """One episode.

    Attributes:
        seed: of the episode.
        solved: whether its screens showed success.
        total: sum of its rewards, 0 to 1.
        audited: real machine: whether it was solved and the true state confirms it; None on a neural one.
    """

    seed: int
    solved: bool
    total: float
    audited: bool | None


class Player(Protocol):
    """Whoever chooses the actions of N rows.

    Attributes:
        name: "random", "oracle" or the algorithm of a policy.
        argmax: whether a policy takes its likeliest action; None for others.
    """

    name: str
    argmax: bool | None

    def begin(self, rows: NDArray[np.bool_], seeds: Sequence[int | None], envs: ComputerVectorEnv) -> None:
        """Learns that ``rows`` (N,) have just been reset with ``seeds`` (N)."""

    def act(self, obs: NDArray[Any], envs: ComputerVectorEnv) -> NDArray[np.int64]:
        """Returns the actions (N, ...) for the observations (N, ...)."""


class RandomPlayer:
    """Draws allowed actions; each episode's from its own seed."""

    name = "random"
    argmax: bool | None = None

    def begin(self, rows: NDArray[np.bool_], seeds: Sequence[int | None], envs: ComputerVectorEnv) -> None:
        """Seeds the rows' draws."""
        if rows.all():
            self.spaces = [copy.deepcopy(envs.single_action_space) for _ in seeds]
        for row in np.flatnonzero(rows):
            self.spaces[row].seed(seeds[int(row)])

    def act(self, obs: NDArray[Any], envs: ComputerVectorEnv) -> NDArray[np.int64]:
        """Draws one action per row."""
        if not isinstance(envs.single_action_space, gym.spaces.Discrete):
            return np.array([space.sample() for space in self.spaces])
        masks = envs.action_masks().astype(np.int8)
        return np.array([space.sample(mask=mask) for space, mask in zip(self.spaces, masks, strict=True)])


class OraclePlayer:
    """Follows the task's oracle, then does nothing."""

    name = "oracle"
    argmax: bool | None = None

    def begin(self, rows: NDArray[np.bool_], seeds: Sequence[int | None], envs: ComputerVectorEnv) -> None:
        """Asks the oracle about the rows' new tasks."""
        plans = envs.oracle()
        if rows.all():
            self.plans: list[Iterator[Any]] = [iter(plan) for plan in plans]
        for row in np.flatnonzero(rows):
            self.plans[row] = iter(plans[row])

    def act(self, obs: NDArray[Any], envs: ComputerVectorEnv) -> NDArray[np.int64]:
        """Returns each plan's next action."""
        idle = envs.idle()
        return np.array([next(plan, idle[row]) for row, plan in enumerate(self.plans)])


class PolicyPlayer:
    """A trained policy.

    Args:
        agent: the policy.
        argmax: takes the likeliest action if true, else draws one.
        seed: of the draws; the generator is the policy's own, so that no other stream moves.
    """

    def __init__(self, agent: TrainedAgent, argmax: bool, seed: int) -> None:
        self.agent = agent
        self.argmax: bool | None = argmax
        self.name = str(agent.training["algorithm"])
        self._seed, self._draws = seed, 0
        self._state: Any = None
        self._starts = np.ones(0, np.bool_)

    def begin(self, rows: NDArray[np.bool_], seeds: Sequence[int | None], envs: ComputerVectorEnv) -> None:
        """Makes the policy forget what the rows did before."""
        self._starts = rows.copy() if rows.all() else self._starts | rows

    def act(self, obs: NDArray[Any], envs: ComputerVectorEnv) -> NDArray[np.int64]:
        """Asks the policy."""
        import torch

        options: dict[str, Any] = {"deterministic": bool(self.argmax)}
        if self.name == "maskable_ppo":
            options["action_masks"] = envs.action_masks()
        if self.name == "recurrent_ppo":
            options |= {"state": self._state, "episode_start": self._starts}
        with torch.random.fork_rng(devices=[]):  # SB3 draws from torch's global generator
            torch.manual_seed(self._seed + self._draws)
            actions, self._state = self.agent.model.predict(obs, **options)
        self._draws += 1
        self._starts = np.zeros_like(self._starts)
        return actions


def play(envs: ComputerVectorEnv, player: Player, seeds: Sequence[int], label: str = "") -> list[Episode]:
    """Plays one episode per seed and returns them in the order of ``seeds``.

    Args:
        envs: a batch made with ``autoreset_mode="Disabled"`` and at most as many rows as there are seeds.
        player: who plays.
        seeds: each is the seed of one episode, as in ``gym.make(...).reset(seed=seed)``.
        label: of the progress bar; empty shows none.

    An episode whose real computer died or hung is played once more: a host's failure is not an agent's, and a computer
    that the agent breaks breaks again.
    """
    waiting, again = deque(seeds), set[int]()
    done, broken = np.ones(envs.num_envs, np.bool_), np.zeros(envs.num_envs, np.bool_)
    playing: list[int | None] = [None] * envs.num_envs
    totals = np.zeros(envs.num_envs)
    finished: dict[int, Episode] = {}
    obs: Any = None
    bar = iter(track(range(len(seeds)), description=label, transient=True, disable=not label))
    while len(finished) < len(seeds):
        if done.any():
            for row in np.flatnonzero(done):
                playing[row] = waiting.popleft() if waiting else None
            obs, _ = envs.reset(seed=playing, options={"reset_mask": done})
            totals[done], broken[done] = 0, False
            player.begin(done, playing, envs)
        obs, rewards, terminated, truncated, info = envs.step(player.act(obs, envs))
        totals, done = totals + rewards, terminated | truncated
        broken |= info.get("restarted", False)
        for row in np.flatnonzero(done):
            seed = playing[row]
            if seed is not None and broken[row] and seed not in again:
                again.add(seed)
                waiting.append(seed)
            elif seed is not None:
                audited = bool(info["audit"][row]) if "audit" in info else None
                finished[seed] = Episode(seed, bool(info["is_success"][row]), float(totals[row]), audited)
                next(bar, None)
    return [finished[seed] for seed in seeds]


def evaluate(setting: EnvSetting, player: Player, episodes: int, seed: int, progress: bool = True) -> Score:
    """Plays ``episodes`` episodes with the seeds ``seed``, ``seed + 1``, ... and returns the score."""
    envs = setting.open(min(ROWS, episodes), "Disabled")
    label = f"{player.name} on {setting.machine}" if progress else ""
    try:
        played = play(envs, player, range(seed, seed + episodes), label)
    finally:
        envs.close()
    totals = [episode.total for episode in played]
    weights = setting.weights_file
    policy = player.agent.path if isinstance(player, PolicyPlayer) else None
    return Score(
        env=setting.env, obs=setting.obs, actions=setting.preset, split=setting.split, player=player.name,
        machine=setting.machine, argmax=player.argmax, episodes=episodes, seed=seed,
        success_rate=float(np.mean([episode.solved for episode in played])),
        mean_return=float(np.mean(totals)), std_return=float(np.std(totals)),
        audited_rate=_audited_rate(setting, played),
        failed_seeds=tuple(episode.seed for episode in played if not episode.solved),
        nc_gym=nc_gym.__version__, package_sha256=PACKAGE_SHA256,
        weights_sha256=sha256(weights) if weights else None, policy_sha256=sha256(policy) if policy else None,
    )  # fmt: skip


def _audited_rate(setting: EnvSetting, played: Sequence[Episode]) -> float | None:
    """Returns the share of episodes that the true state confirms; None where it is not asked."""
    audits = [episode.audited for episode in played if episode.audited is not None]
    audited = load_card(setting.card).environments[setting.env].task.audited
    return float(np.mean(audits)) if audits and audited else None


def evaluate_all(
    agent: TrainedAgent,
    settings: Sequence[EnvSetting],
    modes: Sequence[bool],
    baselines: bool,
    episodes: int,
    seed: int,
) -> list[Score]:
    """Scores a policy in each setting and each mode (argmax or not), then, if asked, random keys and the oracle."""
    scores = []
    for argmax in modes:
        for setting in settings:
            scores.append(evaluate(setting, PolicyPlayer(agent, argmax, seed), episodes, seed))
    for player in (RandomPlayer(), OraclePlayer()) if baselines else ():
        scores += [evaluate(setting, player, episodes, seed) for setting in settings]
    return scores


def show(scores: Sequence[Score]) -> None:
    """Prints scores as a table."""
    table = Table(title=f"{scores[0].env}: {scores[0].episodes} episodes from seed {scores[0].seed}")
    for column in ("player", "machine", "solved", "return"):
        table.add_column(column)
    for score in scores:
        mode = "" if score.argmax is None else " (argmax)" if score.argmax else " (stochastic)"
        table.add_row(score.player + mode, score.machine, f"{score.success_rate:.1%}", f"{score.mean_return:.3f}")
    Console().print(table)


def setting_of(agent: TrainedAgent, machine: str, weights: str | None, device: str) -> EnvSetting:
    """Returns where a trained agent is tested: its own environment with test parameters."""
    training = agent.training
    return EnvSetting(training["env"], machine, training["obs"], training["actions"], "test", weights, device)
