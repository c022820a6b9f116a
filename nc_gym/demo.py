"""``nc-gym demo``: the shipped agent in the neural terminal beside real bash, filmed and compared.

First the agent solves its task; then, in the free terminal, a held-out synthetic user types a session that neither the
network nor the agent was trained on. Both machines get the same events, and the neural one sees only its own screens.
"""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from nc_gym.env import RENDER_FPS
from nc_gym.machines.terminal import BashTerminal
from nc_gym.paths import data_root
from nc_gym.recording import Agent, film_episode, follow, load_agent, open_sides, show_outcomes
from nc_gym.stopwatch import measure_machine
from nc_gym.traces.users import session_events
from nc_gym.video import VideoWriter, strip

TASK = "nc_gym/TerminalEcho-v0"
FREE = "nc_gym/Terminal-v0"
AGENT = Path("agents") / "terminal_echo_ppo" / "policy.zip"
SESSION_STEPS = 100
SPEED_SECONDS = 3.0
SPEED_ROWS = (1, 32)


def run_demo(out: Path, seed: int, weights: Path | None = None) -> None:
    """Writes ``demo.mp4`` and ``demo.png`` into ``out``, prints the comparison and the speeds.

    Args:
        out: folder; created if missing.
        seed: of the agent's episode and of the held-out session.
        weights: weights folder; None takes the shipped one.
    """
    console = Console()
    folder = str(weights or data_root() / "weights" / "terminal")
    agent = shipped_agent(console)
    session = [event for event, _ in session_events("goal", seed, 0, "eval", SESSION_STEPS)]
    user = Agent("held-out user", "screen", lambda env, seed: follow(session, env))
    outcomes = []
    video = out / "demo.mp4"
    with VideoWriter(video, RENDER_FPS) as writer:
        for env_id, actor, limit in ((TASK, agent, None), (FREE, user, SESSION_STEPS)):
            sides = open_sides(env_id, "both", actor.obs, folder)
            try:
                outcomes.append(film_episode(sides, actor.start, seed, writer, limit))
            finally:
                for side in sides:
                    side.env.close()
    strip(video, out / "demo.png", count=3)
    console.print(f"Wrote {video} ({writer.frames} frames) and {out / 'demo.png'}: {agent.name}, then {user.name}.")
    show_outcomes(outcomes)
    print_speeds(console, folder)


def shipped_agent(console: Console) -> Agent:
    """Returns the shipped policy, or the oracle if there is none; says so."""
    path = data_root() / AGENT
    if path.is_file():
        return load_agent(str(path))
    console.print(f"There is no trained agent at {path}: the oracle plays instead.")
    return load_agent("oracle")


def print_speeds(console: Console, weights: str) -> None:
    """Measures and prints machine steps per second, neural and real."""
    from nc_gym.computer.computer import NeuralComputer
    from nc_gym.computer.machine import NeuralMachine

    computer = NeuralComputer.from_pretrained(weights)
    for rows in SPEED_ROWS:
        speed = measure_machine(NeuralMachine(computer, rows), SPEED_SECONDS)
        console.print(f"neural terminal, {rows:2} in a batch: {speed.steps_per_second:6.0f} steps/s")
    with BashTerminal(1) as real:
        console.print(
            f"real bash, one terminal:      {measure_machine(real, SPEED_SECONDS).steps_per_second:6.0f} steps/s"
        )
