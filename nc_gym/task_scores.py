"""``nc-gym tasks``: plays every task's oracle and a random policy on both machines, and films the oracle.

Writes ``tasks_terminal.json`` or ``tasks_desktop.json`` (success, return, and how often the real machine's true state
confirms a success) and one GIF per task into ``envs/`` beside it; the documentation pages show both. What the file
already holds for the same weights, card, seed and number of episodes is not measured again, so an interrupted run goes
on. Where no network is trained yet, only the real machine plays and is filmed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import gymnasium as gym
import imageio.v2 as imageio
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from nc_gym.agent_env import EnvSetting
from nc_gym.agent_evaluate import OraclePlayer, Player, RandomPlayer, evaluate
from nc_gym.fidelity_report import dumps
from nc_gym.frames import SCALE
from nc_gym.paths import data_root
from nc_gym.registration import card_sha256, load_card

SPLIT = "test"
MACHINES = ("real", "neural")
PLAYERS: dict[str, Callable[[], Player]] = {"oracle": OraclePlayer, "random": RandomPlayer}
FILM_TRIES = 5  # episodes of which the first solved one is kept
FRAME_MS, LAST_MS = 150, 2000
_KEPT = ("env", "actions", "player", "machine", "success_rate", "mean_return", "audited_rate", "failed_seeds")


def json_name(card: str) -> str:
    """Returns the file of a card's scores."""
    return f"tasks_{card}.json"


def measure(
    card: str, tasks: Sequence[str], out: Path, episodes: int, seed: int, weights: Path | None, device: str
) -> dict[str, Any]:
    """Measures tasks, writes the file after each score, then films them, and returns all that the file holds.

    Args:
        card: "terminal" or "desktop".
        tasks: ids; empty for all of the card.
        out: folder of the file.
        episodes: of each score.
        seed: of the first episode.
        weights: weights folder; None for the shipped one.
        device: torch device of the network.

    Raises:
        ValueError: one of ``tasks`` is no task of the card, or there are no weights.
    """
    known = [id for id, environment in load_card(card).environments.items() if environment.task.success]
    unknown = sorted(set(tasks) - set(known))
    if unknown:
        raise ValueError(f"no task {unknown[0]!r}; the tasks are {', '.join(known)}")
    chosen = list(tasks) or known
    path = out / json_name(card)
    result = _result_so_far(path, _header(card, episodes, seed, weights))
    machines = MACHINES if result["weights_sha256"] else MACHINES[:1]
    jobs = [job for job in _jobs(card, chosen, machines) if job not in [_key(score) for score in result["scores"]]]
    with Progress(transient=True) as progress:
        for job in progress.track(jobs, description="Tasks"):
            env_id, actions, player, machine = job
            setting = EnvSetting(env_id, machine, "chars", actions, SPLIT, str(weights) if weights else None, device)
            score = asdict(evaluate(setting, PLAYERS[player](), episodes, seed, progress=False))
            result["scores"].append({name: score[name] for name in _KEPT})
            result["scores"].sort(key=lambda score: (known.index(score["env"]), *_key(score)[1:]))
            _write(path, result)
        for env_id in progress.track(chosen, description="Films"):
            film(env_id, out / "envs" / gif_name(env_id), machines[-1], seed, weights, device)
    return dict(json.loads(path.read_text(encoding="utf-8")))


def _jobs(card: str, tasks: Sequence[str], machines: Sequence[str]) -> Iterator[tuple[str, str, str, str]]:
    """Yields task, actions, player and machine of each score; words only where the oracle has some."""
    loaded = load_card(card)
    for task in tasks:
        words = loaded.environments[task].task.oracle_words
        for actions in loaded.presets if words else loaded.presets[:1]:
            for player in PLAYERS:
                for machine in machines:
                    yield task, actions, player, machine


def _key(score: dict[str, Any]) -> tuple[str, str, str, str]:
    return score["env"], score["actions"], score["player"], score["machine"]


def _header(card: str, episodes: int, seed: int, weights: Path | None) -> dict[str, Any]:
    """Returns what scores of one file have in common.

    Raises:
        ValueError: there are no weights where some are said to be.
    """
    model = (weights or data_root() / "weights" / card) / "model.safetensors"
    if weights is not None and not model.is_file():
        raise ValueError(f"no weights at {weights}: expected {model}; pass a folder that `nc-gym train` wrote")
    return {
        "episodes": episodes,
        "seed": seed,
        "split": SPLIT,
        "weights_sha256": sha256(model.read_bytes()).hexdigest() if model.is_file() else None,
        "card_sha256": card_sha256(card),
    }


def _result_so_far(path: Path, header: dict[str, Any]) -> dict[str, Any]:
    """Returns what the file holds if it was measured under the same conditions, else an empty result."""
    if path.is_file():
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if {name: result.get(name) for name in header} == header:
            return result
        Console().print(f"{path} was measured with other weights, tasks, seed or episodes: measuring everything anew.")
    return {**header, "scores": []}


def _write(path: Path, result: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".json.tmp")
    temporary.write_text(dumps(result), encoding="utf-8")
    os.replace(temporary, path)


def gif_name(env_id: str) -> str:
    """Returns the file of a task's film: ``nc_gym/TerminalEcho-v0`` has ``TerminalEcho-v0.gif``."""
    return env_id.split("/")[-1] + ".gif"


def film(env_id: str, path: Path, machine: str, seed: int, weights: Path | None, device: str) -> None:
    """Films the oracle on a machine: the first of some episodes that it solves, else the last one."""
    folder = str(weights) if weights else None
    env = gym.make(env_id, machine=machine, weights=folder, device=device, split=SPLIT, render_mode="rgb_array")
    with env:
        for episode in range(FILM_TRIES):
            _, info = env.reset(seed=seed + episode)
            frames: list[Any] = [env.render()]
            for action in env.unwrapped.oracle():  # type: ignore[attr-defined]
                info = env.step(action)[-1]
                frames.append(env.render())
            if info["is_success"]:
                break
    path.parent.mkdir(parents=True, exist_ok=True)
    small: list[Any] = [np.asarray(frame)[::SCALE, ::SCALE] for frame in frames]
    imageio.mimwrite(path, small, format="GIF", duration=[FRAME_MS] * (len(small) - 1) + [LAST_MS], loop=0)


def show(result: dict[str, Any]) -> None:
    """Prints the scores."""
    table = Table(title=f"Tasks: {result['episodes']} episodes each, split {result['split']}, seed {result['seed']}")
    for column in ("task", "actions", "player", "machine", "solved", "return", "confirmed"):
        table.add_column(column, no_wrap=True)
    for score in result["scores"]:
        audited = "" if score["audited_rate"] is None else f"{score['audited_rate']:.0%}"
        numbers = (f"{score['success_rate']:.0%}", f"{score['mean_return']:.3f}", audited)
        table.add_row(score["env"].split("/")[-1], *_key(score)[1:], *numbers)
    Console().print(table)
