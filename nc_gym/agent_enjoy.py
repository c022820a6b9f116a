"""``nc-gym agent enjoy``: an agent at work, as text in this terminal."""

from __future__ import annotations

import time

import numpy as np
from rich.live import Live
from rich.text import Text

from nc_gym.agent_evaluate import PolicyPlayer, setting_of
from nc_gym.agent_file import TrainedAgent
from nc_gym.vector_env import ComputerVectorEnv


def watch(
    agent: TrainedAgent, machine: str, seed: int, episodes: int, fps: float, weights: str | None = None,
    argmax: bool = True,
) -> None:  # fmt: skip
    """Shows episodes step by step.

    Args:
        agent: who plays.
        machine: "neural" or "real".
        seed: of the first episode; the next ones follow. Also of the draws.
        episodes: how many.
        fps: steps per second at most.
        weights: folder of the network's weights; None takes the shipped one.
        argmax: takes the likeliest actions if true, else draws them.
    """
    if machine == "both":
        raise ValueError("machine='both' cannot be shown as text; add --video FILE, or choose neural or real")
    setting = setting_of(agent, machine, weights, "auto")
    envs = setting.open(1, "Disabled", render_mode="ansi")
    player = PolicyPlayer(agent, argmax, seed)
    try:
        for k in range(episodes):
            _play(envs, player, seed + k, fps)
    finally:
        envs.close()


def _play(envs: ComputerVectorEnv, player: PolicyPlayer, seed: int, fps: float) -> None:
    """Plays one episode; what stays on the terminal is its last screen."""
    everyone = np.ones(1, np.bool_)
    obs, info = envs.reset(seed=[seed])
    player.begin(everyone, [seed], envs)
    steps, total, done = 0, 0.0, False
    with Live(refresh_per_second=max(4.0, fps)) as live:
        while not done:
            live.update(_picture(envs, f"seed {seed}  step {steps}  return {total:.2f}"))
            time.sleep(1 / fps)
            obs, rewards, terminated, truncated, info = envs.step(player.act(obs, envs))
            steps, total, done = steps + 1, total + float(rewards[0]), bool(terminated[0] or truncated[0])
        verdict = "solved" if info["is_success"][0] else "not solved"
        live.update(_picture(envs, f"seed {seed}  step {steps}  return {total:.2f}  {verdict}"))


def _picture(envs: ComputerVectorEnv, status: str) -> Text:
    frames = envs.render()
    assert frames is not None
    return Text(f"{frames[0]}\n{status}")
