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
from nc_gym.comparison import Agreement, side_by_side
from nc_gym.frames import SCALE
from nc_gym.machines.font import CELL_HEIGHT
from nc_gym.machines.keys import KEYS, NOOP
from nc_gym.registration import card_names, load_card
from nc_gym.video import Frame, VideoWriter

gym.register_envs(nc_gym)

HOLD_SECONDS = 1.0  # how long the last frame of an episode stays

Policy = Callable[[Any], int]  # observation -> event
Start = Callable[[gym.Env[Any, Any], int], Policy]  # environment (just reset), seed -> the episode's policy


@dataclass
class Outcome:
    """What became of one episode.

    Attributes:
        seed: of the episode.
        instruction: the task's text.
        steps: events sent.
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
    """

    def __init__(self, env_id: str, machine: str, obs: str, weights: str | None = None) -> None:
        self.machine = machine
        self.env = gym.make(env_id, machine=machine, weights=weights, obs=obs, render_mode="rgb_array")
        self.obs: Any = None
        self.info: dict[str, Any] = {}
        self.total = 0.0
        self.done = False

    def reset(self, seed: int) -> None:
        """Starts an episode."""
        self.obs, self.info = self.env.reset(seed=seed)
        self.total, self.done = 0.0, False

    def step(self, event: int) -> None:
        """Sends one event, unless the episode is over."""
        if not self.done:
            self.obs, reward, terminated, truncated, self.info = self.env.step(event)
            self.total += float(reward)
            self.done = terminated or truncated

    def frame(self) -> Frame:
        """Returns the rendered frame, uint8 (448, 640, 3)."""
        frame: Any = self.env.render()
        return np.asarray(frame, dtype=np.uint8)

    def screen(self) -> Frame:
        """Returns banner and screen as the machine shows them, uint8 (208, 320, 3)."""
        return self.frame()[::SCALE, ::SCALE][:-CELL_HEIGHT]


@dataclass
class Agent:
    """Who acts.

    Attributes:
        name: "oracle", "random", or the path of a policy.
        obs: the observation mode that it needs.
        start: makes the policy of one episode.
    """

    name: str
    obs: str
    start: Start


def load_agent(name: str) -> Agent:
    """Returns "oracle", "random", or the Stable-Baselines3 policy whose zip file ``name`` is.

    Raises:
        FileNotFoundError: there is no such file.
        gymnasium.error.DependencyNotInstalled: a policy needs stable_baselines3.
    """
    if name == "oracle":
        return Agent(name, "screen", _oracle)
    if name == "random":
        return Agent(name, "screen", _random)
    path = Path(name)
    if not path.is_file():
        raise FileNotFoundError(f'no agent {name!r}: pass "oracle", "random", or the policy.zip of an agent')
    try:
        from stable_baselines3 import PPO
    except ImportError:
        raise gym.error.DependencyNotInstalled(
            'a trained policy needs stable_baselines3: pip install "nc-gym[sb3]"'
        ) from None
    model = PPO.load(path, device="cpu")

    def act(obs: Any) -> int:
        return int(model.predict(obs, deterministic=True)[0])

    return Agent(name, obs_mode(model.observation_space.shape), lambda env, seed: act)


def obs_mode(shape: Sequence[int] | None) -> str:
    """Returns the observation mode whose observations a policy with this input shape takes."""
    modes = {3: "screen", 1: "chars", 2: "latent"}
    if shape is None or len(shape) not in modes:
        raise ValueError(
            f"the policy sees observations of shape {shape}; expected a screen, chars or latent observation"
        )
    return modes[len(shape)]


def _oracle(env: gym.Env[Any, Any], seed: int) -> Policy:
    events = iter(env.unwrapped.oracle())  # type: ignore[attr-defined]
    if (first := next(events, None)) is None:
        raise ValueError(f"{env.spec and env.spec.id} has no task for an oracle; choose --agent random or a policy")
    return follow([first, *events])


def _random(env: gym.Env[Any, Any], seed: int) -> Policy:
    rng = np.random.default_rng(seed)
    return lambda obs: int(rng.integers(len(KEYS)))


def follow(events: Iterable[int]) -> Policy:
    """Returns the policy that sends these events whatever it sees, then no-ops."""
    remaining = iter(events)
    return lambda obs: next(remaining, NOOP)


def film_episode(
    sides: Sequence[Side], start: Start, seed: int, video: VideoWriter, limit: int | None = None
) -> Outcome:
    """Films one episode. The first side's observations drive the policy; every side gets the same events.

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
    frame = compose(sides, 0, NOOP)
    video.write(frame)
    steps = 0
    while not driver.done and steps != limit:
        event = policy(driver.obs)
        for side in sides:
            side.step(event)
        steps += 1
        frame = compose(sides, steps, event)
        video.write(frame)
        if agreement is not None:
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


def compose(sides: Sequence[Side], step: int, event: int) -> Frame:
    """Returns the frame of one side, or of two side by side."""
    if len(sides) == 1:
        return sides[0].frame()
    instruction = sides[0].info["instruction"] or "free use"
    header = f"{instruction}   step {step}   key {KEYS[event]!r}"
    return side_by_side(sides[0].screen(), sides[1].screen(), header, SCALE)


def open_sides(env_id: str, machine: str, obs: str, weights: str | None = None) -> list[Side]:
    """Opens the environment on "neural", "real", or "both" machines."""
    known = [known for name in card_names() for known in load_card(name).environments]
    if env_id not in known:
        raise ValueError(f"no environment {env_id!r}; nc_gym has {', '.join(known)}")
    return [Side(env_id, name, obs, weights) for name in (("neural", "real") if machine == "both" else (machine,))]


def record_episodes(
    env_id: str, agent_name: str, machine: str, video: Path, seed: int, episodes: int, weights: str | None = None
) -> list[Outcome]:
    """Films episodes and prints what became of them.

    Args:
        env_id: a registered id.
        agent_name: see ``load_agent``.
        machine: "neural", "real", or "both" side by side.
        video: the mp4 file; several episodes become ``NAME-episode-K.mp4``.
        seed: of the first episode; the next ones follow.
        episodes: how many.
        weights: folder of the network's weights; None takes the shipped one.
    """
    agent = load_agent(agent_name)
    sides = open_sides(env_id, machine, agent.obs, weights)
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
