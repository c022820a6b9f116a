"""``nc-gym record``: films an agent on the neural machine, on the real one, or on both under the same events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from rich.console import Console
from rich.table import Table

import nc_gym
from nc_gym import agent_file
from nc_gym.agent_env import EnvSetting
from nc_gym.agent_evaluate import PolicyPlayer
from nc_gym.comparison import Agreement, side_by_side
from nc_gym.frames import SCALE
from nc_gym.machines.font import CELL_HEIGHT
from nc_gym.registration import check_registered
from nc_gym.video import Frame, VideoWriter

gym.register_envs(nc_gym)

HOLD_SECONDS = 1.0  # how long the last frame of an episode stays

Policy = Callable[[Any], Any]  # observation -> action
Start = Callable[[gym.Env[Any, Any], int], Policy]  # environment (just reset), seed -> the episode's policy


@dataclass
class Outcome:
    """What became of one episode.

    Attributes:
        seed: of the episode.
        instruction: the task's text.
        steps: actions taken.
        returns: sum of rewards by machine, "neural" or "real".
        success: whether the task was solved, by machine.
        agreement: of the two machines' screens; None unless both ran.
    """

    seed: int
    instruction: str
    steps: int
    returns: dict[str, float]
    success: dict[str, bool]
    agreement: Agreement | None


class Side:
    """One machine's environment; after the end of an episode it keeps its last screen.

    Args:
        env_id: a registered id.
        machine: "neural" or "real".
        obs: the environment's observation mode.
        weights: folder of the network's weights; None takes the shipped one.
        actions: action preset; None takes the environment's.
        split: whose task parameters are drawn.
    """

    def __init__(
        self, env_id: str, machine: str, obs: str, weights: str | None = None, actions: str | None = None,
        split: str = "train",
    ) -> None:  # fmt: skip
        self.machine = machine
        self.env = gym.make(
            env_id, machine=machine, weights=weights, obs=obs, actions=actions, split=split, render_mode="rgb_array"
        )
        self.obs: Any = None
        self.info: dict[str, Any] = {}
        self.total = 0.0
        self.done = False

    def reset(self, seed: int) -> None:
        """Starts an episode."""
        self.obs, self.info = self.env.reset(seed=seed)
        self.total, self.done = 0.0, False

    def step(self, action: Any) -> None:
        """Takes one action, unless the episode is over."""
        if not self.done:
            self.obs, reward, terminated, truncated, self.info = self.env.step(action)
            self.total += float(reward)
            self.done = terminated or truncated

    def frame(self) -> Frame:
        """Returns the rendered frame, uint8 (H, W, 3)."""
        frame: Any = self.env.render()
        return np.asarray(frame, dtype=np.uint8)

    def screen(self) -> Frame:
        """Returns banner and screen as the machine shows them, uint8 (H, W, 3)."""
        return self.frame()[::SCALE, ::SCALE][:-CELL_HEIGHT]


@dataclass
class Agent:
    """Who acts.

    Attributes:
        name: "oracle", "random", or the path of a policy.
        obs: the observation mode that it needs.
        start: makes the policy of one episode.
        trained: the policy; None for the oracle and for random keys.
    """

    name: str
    obs: str
    start: Start
    trained: agent_file.TrainedAgent | None = None


def load_agent(name: str, trust: bool = False, argmax: bool = True) -> Agent:
    """Returns "oracle", "random", or the trained policy whose folder or zip file ``name`` is.

    Args:
        name: of the agent.
        trust: load a policy that no results.json vouches for.
        argmax: a policy takes its likeliest actions if true, else draws them, seeded by the episode.

    Raises:
        FileNotFoundError: there is no such file.
        AgentError: the policy cannot be used; see ``agent_file.load_agent``.
        gymnasium.error.DependencyNotInstalled: a policy needs stable_baselines3.
    """
    if name == "oracle":
        return Agent(name, "screen", _oracle)
    if name == "random":
        return Agent(name, "screen", _random)
    try:
        trained = agent_file.load_agent(Path(name), trust)
    except FileNotFoundError as error:
        raise FileNotFoundError(f'{error}, or "oracle", or "random"') from None

    def start(env: gym.Env[Any, Any], seed: int) -> Policy:
        if env.action_space != trained.model.action_space:
            raise agent_file.AgentError(
                f"{name} acts by {trained.model.action_space}, not {env.action_space}; record it with its own actions"
            )
        computer: Any = env.unwrapped
        player = PolicyPlayer(trained, argmax, seed)
        player.begin(np.ones(1, np.bool_), [seed], computer)
        return lambda obs: np.asarray(player.act(obs, computer))

    return Agent(name, obs_mode(trained.model.observation_space.shape), start, trained)


def obs_mode(shape: Sequence[int] | None) -> str:
    """Returns the observation mode whose observations a policy with this input shape takes."""
    modes = {3: "screen", 1: "chars", 2: "latent"}
    if shape is None or len(shape) not in modes:
        raise ValueError(
            f"the policy sees observations of shape {shape}; expected a screen, chars or latent observation"
        )
    return modes[len(shape)]


def _oracle(env: gym.Env[Any, Any], seed: int) -> Policy:
    actions = env.unwrapped.oracle()  # type: ignore[attr-defined]
    if not actions:
        raise ValueError(f"{env.spec and env.spec.id} has no task for an oracle; choose --agent random or a policy")
    return follow(actions, env)


def _random(env: gym.Env[Any, Any], seed: int) -> Policy:
    rng = np.random.default_rng(seed)
    space: Any = env.action_space
    sizes = space.n if isinstance(space, gym.spaces.Discrete) else space.nvec
    return lambda obs: rng.integers(sizes)


def follow(actions: Iterable[Any], env: gym.Env[Any, Any]) -> Policy:
    """Returns the policy that takes these actions whatever it sees, then does nothing."""
    remaining = iter(actions)
    computer: Any = env.unwrapped
    end = object()

    def policy(obs: Any) -> Any:
        action = next(remaining, end)
        return computer.idle() if action is end else action

    return policy


def film_episode(
    sides: Sequence[Side], start: Start, seed: int, video: VideoWriter, limit: int | None = None
) -> Outcome:
    """Films one episode: the first side's observations drive the policy, every side gets the same actions.

    Args:
        sides: one machine, or the neural and the real one.
        start: makes the policy.
        seed: of the episode, on every side.
        video: where the frames go; the last one stays for ``HOLD_SECONDS``.
        limit: stop after so many steps; None goes on to the end of the first side's episode.
    """
    for side in sides:
        side.reset(seed)
    driver = sides[0]
    policy = start(driver.env, seed)
    agreement = Agreement() if len(sides) == 2 else None
    frame = compose(sides, 0)
    video.write(frame)
    steps = 0
    while not driver.done and steps != limit:
        action = policy(driver.obs)
        together = not any(side.done for side in sides)  # a side that has ended stands still
        for side in sides:
            side.step(action)
        steps += 1
        frame = compose(sides, steps)
        video.write(frame)
        if agreement is not None and together:
            agreement.add(sides[0].screen(), sides[1].screen(), sides[0].info["chars"], sides[1].info["chars"])
    for _ in range(round(HOLD_SECONDS * driver.env.metadata["render_fps"])):
        video.write(frame)
    return Outcome(
        seed=seed,
        instruction=driver.info["instruction"],
        steps=steps,
        returns={side.machine: side.total for side in sides},
        success={side.machine: side.info["is_success"] for side in sides},
        agreement=agreement,
    )


def compose(sides: Sequence[Side], step: int) -> Frame:
    """Returns the frame of one side, or of two side by side."""
    if len(sides) == 1:
        return sides[0].frame()
    instruction = sides[0].info["instruction"] or "free use"
    computer: Any = sides[0].env.unwrapped
    header = f"{instruction}   step {step}   {computer.last_action!r}"
    return side_by_side(sides[0].screen(), sides[1].screen(), header, SCALE)


def open_sides(
    env_id: str, machine: str, obs: str, weights: str | None = None, actions: str | None = None, split: str = "train"
) -> list[Side]:
    """Opens the environment on "neural", "real", or "both" machines."""
    check_registered(env_id)
    names = ("neural", "real") if machine == "both" else (machine,)
    return [Side(env_id, name, obs, weights, actions, split) for name in names]


def record_episodes(
    env_id: str, agent_name: str, machine: str, video: Path, seed: int, episodes: int, weights: str | None = None,
    trust: bool = False, actions: str | None = None, split: str = "train", argmax: bool = True,
) -> list[Outcome]:  # fmt: skip
    """Films episodes and prints what became of them.

    Args:
        env_id: a registered id.
        agent_name: see ``load_agent``.
        machine: "neural", "real", or "both" side by side.
        video: the mp4 file; several episodes become ``NAME-episode-K.mp4``.
        seed: of the first episode; the next ones follow.
        episodes: how many.
        weights: folder of the network's weights; None takes the shipped one.
        trust: load a policy that no results.json vouches for.
        actions: action preset; None takes the policy's own or else the environment's.
        split: whose task parameters are drawn.
        argmax: a policy takes its likeliest actions if true, else draws them.
    """
    agent = load_agent(agent_name, trust, argmax)
    if agent.trained is not None:
        actions = actions or agent.trained.training["actions"]
        agent_file.check_fits(agent.trained, env_id, EnvSetting(env_id, actions=actions).preset)
    sides = open_sides(env_id, machine, agent.obs, weights, actions, split)
    outcomes = []
    try:
        for k in range(episodes):
            path = video if episodes == 1 else video.with_name(f"{video.stem}-episode-{k}{video.suffix}")
            with VideoWriter(path, sides[0].env.metadata["render_fps"]) as writer:
                outcomes.append(film_episode(sides, agent.start, seed + k, writer))
            Console().print(f"Wrote {path} ({writer.frames} frames).")
    finally:
        for side in sides:
            side.env.close()
    show_outcomes(outcomes)
    return outcomes


def show_outcomes(outcomes: Sequence[Outcome]) -> None:
    """Prints a table of episodes: return and success on each machine, and how far their screens agreed."""
    machines = list(outcomes[0].returns)
    both = len(machines) == 2
    table = Table(title="Closed loop: the same events on both machines" if both else f"Episodes, {machines[0]}")
    names = " | ".join(machines) if both else ""
    for column in ("seed", "instruction", "steps", f"return\n{names}", f"solved\n{names}"):
        table.add_column(column)
    if both:
        table.add_column("characters\nequal", justify="right")
        table.add_column("screens\nexact", justify="right")
    for outcome in outcomes:
        returns = " | ".join(f"{outcome.returns[machine]:.2f}" for machine in machines)
        solved = " | ".join("yes" if outcome.success[machine] else "no" for machine in machines)
        cells = [str(outcome.seed), outcome.instruction or "(free use)", str(outcome.steps), returns, solved]
        if outcome.agreement is not None:
            cells += [f"{outcome.agreement.mean_characters:.2%}", f"{outcome.agreement.share_exact:.1%}"]
        table.add_row(*cells)
    Console().print(table)
