"""Environment cards and their registration with Gymnasium.

A card is a TOML file in ``envs/`` that declares a computer, its boots and its environments. Registration hands
Gymnasium only strings and JSON-able values, so a spec can be written down and read back anywhere.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium as gym

from nc_gym.paths import data_root
from nc_gym.tasks import Task, task_from_table

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ENTRY_POINT = "nc_gym.env:ComputerEnv"
VECTOR_ENTRY_POINT = "nc_gym.vector_env:ComputerVectorEnv"


class CardError(ValueError):
    """A card that cannot be used."""


@dataclass(frozen=True)
class EnvironmentCard:
    """One environment of a card."""

    id: str
    summary: str
    max_episode_steps: int
    reward_threshold: float | None
    task: Task


@dataclass(frozen=True)
class Card:
    """A computer, its boots (texts typed into a fresh one) and its environments by id.

    ``weights_sha256`` pins the file ``model.safetensors`` of the default weights: other weights are other dynamics and
    need a new version of the ids.
    """

    name: str
    machine: str
    boots: tuple[str, ...]
    weights_sha256: str | None
    environments: dict[str, EnvironmentCard]


@cache
def load_card(name: str) -> Card:
    """Reads ``envs/<name>.toml``.

    Raises:
        CardError: there is no such card, or it says something that no computer can do.
    """
    path = data_root() / "envs" / f"{name}.toml"
    if not path.is_file():
        raise CardError(f"no card {name!r}: expected the file {path}; the cards are {', '.join(card_names())}")
    return parse_card(path)


def parse_card(path: Path) -> Card:
    """Reads and checks the card at ``path``."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        boots = tuple(table["boots"])
        cards = [_environment(entry, len(boots)) for entry in table["environments"]]
        environments = {card.id: card for card in cards}
        return Card(path.stem, table["machine"], boots, table.get("weights_sha256"), environments)
    except KeyError as error:
        raise CardError(f"{path}: the field {error} is missing; compare with envs/terminal.toml") from None
    except ValueError as error:  # also TOML syntax errors
        raise CardError(f"{path}: {error}") from error


def _environment(entry: dict[str, Any], num_boots: int) -> EnvironmentCard:
    known = {"id", "summary", "max_episode_steps", "reward_threshold", "task"}
    unknown = sorted(set(entry) - known)
    if unknown:
        raise ValueError(f"unknown environment field {unknown[0]!r}; an environment has {', '.join(sorted(known))}")
    try:
        task = task_from_table(entry["task"], num_boots)
    except ValueError as error:
        raise ValueError(f"{entry['id']}: {error}") from None
    return EnvironmentCard(
        entry["id"], entry["summary"], int(entry["max_episode_steps"]), entry.get("reward_threshold"), task
    )


def card_names() -> list[str]:
    """Returns the names of the cards in ``envs/``, sorted."""
    return sorted(path.stem for path in (data_root() / "envs").glob("*.toml"))


def register_envs() -> None:
    """Registers every environment of every card with Gymnasium; safe to call twice."""
    for name in card_names():
        for environment in load_card(name).environments.values():
            if environment.id in gym.registry:
                continue
            gym.register(
                id=environment.id,
                entry_point=ENTRY_POINT,
                vector_entry_point=VECTOR_ENTRY_POINT,
                max_episode_steps=environment.max_episode_steps,
                reward_threshold=environment.reward_threshold,
                kwargs={"card": name, "task": environment.id},
            )
