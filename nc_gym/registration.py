"""Environment cards and their registration with Gymnasium.

A card is a TOML file that declares a computer, its boots and its environments: those in ``envs/`` are registered on
import, a user's own by ``register_card``. Registration hands Gymnasium only strings and JSON-able values, so a spec can
be written down and read back anywhere.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import parse_env_id

from nc_gym.actions import PRESETS, WordActions
from nc_gym.inputs import Event, Place
from nc_gym.kinds import Kind, kind_of
from nc_gym.parameters import SPLITS
from nc_gym.paths import data_root
from nc_gym.scripts import script_events
from nc_gym.tasks import Task, task_from_table

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_FIELDS = {"machine", "places", "boots", "words", "environments", "weights_sha256"}
_CARDS: dict[str, Card] = {}  # those that were read, by name
ENTRY_POINT = "nc_gym.env:ComputerEnv"
VECTOR_ENTRY_POINT = "nc_gym.vector_env:ComputerVectorEnv"


class CardError(ValueError):
    """A card that cannot be used."""


@dataclass(frozen=True)
class EnvironmentCard:
    """One environment of a card; ``actions`` is its action preset unless another is asked for."""

    id: str
    summary: str
    max_episode_steps: int
    reward_threshold: float | None
    actions: str
    task: Task


@dataclass(frozen=True)
class Card:
    """A computer, its boots (events sent to a fresh one) and its environments by id.

    ``kind`` is what the computer is. ``weights_sha256`` pins the file ``model.safetensors`` of the default weights:
    other weights are other dynamics and need a new version of the ids. ``words`` is the vocabulary of
    ``actions="words"``; without one there are only single events.
    """

    name: str
    kind: Kind
    boots: tuple[tuple[Event, ...], ...]
    weights_sha256: str | None
    words: tuple[str, ...]
    environments: dict[str, EnvironmentCard]

    @property
    def machine(self) -> str:
        """The name of the kind."""
        return self.kind.name

    @property
    def places(self) -> dict[str, Place]:
        """The pixels that have names; a terminal has none."""
        return self.kind.inputs.places

    @property
    def presets(self) -> tuple[str, ...]:
        """The action presets that its environments have."""
        return PRESETS[self.machine] if self.words else PRESETS[self.machine][:1]


def load_card(name: str) -> Card:
    """Reads the card ``envs/<name>.toml``, or the file ``name`` if it ends in ".toml"; only once.

    Raises:
        CardError: there is no such card, or it says something that no computer can do.
    """
    if name not in _CARDS:
        path = _card_path(name)
        if not path.is_file():
            raise CardError(f"no card {name!r}: expected the file {path}; the cards are {', '.join(card_names())}")
        _CARDS[name] = parse_card(path)
    return _CARDS[name]


def _card_path(name: str) -> Path:
    return Path(name) if name.endswith(".toml") else data_root() / "envs" / f"{name}.toml"


def card_sha256(name: str) -> str:
    """Returns the sha256 of what a card says of its tasks: all but the line that names the shipped weights."""
    lines = _card_path(name).read_text(encoding="utf-8").splitlines()
    return sha256("\n".join(line for line in lines if not line.startswith("weights_sha256")).encode()).hexdigest()


def parse_card(path: Path) -> Card:
    """Reads and checks the card at ``path``."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        if unknown := sorted(set(table) - _FIELDS):
            raise ValueError(f"unknown field {unknown[0]!r}; a card has {', '.join(sorted(_FIELDS))}")
        for name in ("boots", "words"):
            if not _are_texts(table.get(name, [])):
                raise ValueError(f"{name} is {table[name]!r}; expected a list of texts")
        kind = kind_of(table["machine"], _places(table.get("places", {})))
        boots = tuple(tuple(script_events(text, {}, kind.inputs)) for text in table.get("boots", [""]))
        words = tuple(table.get("words", ()))
        cards = [_environment(entry, len(boots), words, kind) for entry in table["environments"]]
        environments = {card.id: card for card in cards}
        if len(environments) < len(cards):
            raise ValueError("two environments have the same id; give each its own")
        return Card(path.stem, kind, boots, table.get("weights_sha256"), words, environments)
    except KeyError as error:
        raise CardError(f"{path}: the field {error} is missing; compare with envs/terminal.toml") from None
    except ValueError as error:  # also TOML syntax errors
        raise CardError(f"{path}: {error}") from error
    except (AttributeError, TypeError, IndexError) as error:
        raise CardError(f"{path}: a value is of the wrong kind ({error}); compare with envs/terminal.toml") from error


def _are_texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _places(table: dict[str, Any]) -> dict[str, Place]:
    for name, pixel in table.items():
        if not (isinstance(pixel, list) and len(pixel) == 2 and all(type(number) is int for number in pixel)):
            raise ValueError(f"the place {name!r} is {pixel!r}; give it as [x, y] in pixels")
    return {name: (x, y) for name, (x, y) in table.items()}


def _environment(entry: dict[str, Any], num_boots: int, words: tuple[str, ...], kind: Kind) -> EnvironmentCard:
    known = {"id", "summary", "max_episode_steps", "reward_threshold", "actions", "task"}
    unknown = sorted(set(entry) - known)
    if unknown:
        raise ValueError(f"unknown environment field {unknown[0]!r}; an environment has {', '.join(sorted(known))}")
    if not _are_texts([entry["id"], entry["summary"]]):
        raise ValueError(f"id and summary are {entry['id']!r} and {entry['summary']!r}; expected two texts")
    try:
        task = task_from_table(entry["task"], num_boots, kind)
        actions = entry.get("actions", PRESETS[kind.name][0])
        _check_words(task, actions, words)
    except ValueError as error:
        raise ValueError(f"{entry['id']}: {error}") from None
    steps, threshold = entry["max_episode_steps"], entry.get("reward_threshold")
    if type(steps) is not int or steps < 1:
        raise ValueError(f"{entry['id']}: max_episode_steps is {steps!r}; expected a whole number from 1 on")
    if threshold is not None and type(threshold) not in (int, float):
        raise ValueError(f"{entry['id']}: reward_threshold is {threshold!r}; expected a number, or leave it out")
    return EnvironmentCard(entry["id"], entry["summary"], steps, threshold, actions, task)


def _check_words(task: Task, actions: str, words: tuple[str, ...]) -> None:
    presets = PRESETS[task.kind.name]
    if actions not in presets:
        raise ValueError(f"actions is {actions!r}; choose one of {', '.join(presets)}")
    if actions == "words" and not words:
        raise ValueError('actions is "words", but the card has no list `words` of what they are')
    vocabulary = WordActions(words, task.kind.inputs)
    for word in task.example().words:
        try:
            vocabulary.index(word)
        except ValueError:
            raise ValueError(
                f"oracle_words has {word!r}, which is neither one of the card's words nor a slot"
            ) from None


def card_names() -> list[str]:
    """Returns the names of the cards in ``envs/``, sorted."""
    return sorted(path.stem for path in (data_root() / "envs").glob("*.toml"))


def register_envs() -> None:
    """Registers every environment of every card in ``envs/`` with Gymnasium; safe to call twice."""
    for name in card_names():
        _register(name)


def register_card(path: str | Path) -> tuple[str, ...]:
    """Registers the environments of a card of your own, as the file says now.

    Args:
        path: the TOML file. Environments and their specs name it by its absolute path, so it must stay where it is.

    Returns:
        The ids that can now be made.

    Raises:
        CardError: there is no such file, it is faulty, or one of its ids is already taken by another card.
    """
    file = Path(path).resolve()
    if file.suffix != ".toml" or not file.is_file():
        raise CardError(f"no card at {file}; pass the path of a TOML file such as envs/terminal.toml")
    name, card = str(file), parse_card(file)
    for environment in card.environments.values():
        _check_setups(file, environment)
    _check_ids(name, card)
    _CARDS[name] = card  # it may have been edited since it was read
    for id in [id for id, spec in gym.registry.items() if spec.kwargs.get("card") == name]:
        del gym.registry[id]
    return _register(name)


def check_registered(env_id: str) -> None:
    """Raises a ValueError unless there is such an environment in nc_gym or in a registered card."""
    known = [id for id, spec in gym.registry.items() if spec.vector_entry_point == VECTOR_ENTRY_POINT]
    if env_id not in known:
        raise ValueError(
            f"no environment {env_id!r}; nc_gym has {', '.join(known)}; register a card of your own first "
            "(nc_gym.register_card, or nc-gym --env-card FILE)"
        )


def _check_setups(path: Path, environment: EnvironmentCard) -> None:
    """Draws every setup; for the cards in ``envs/`` a test does so, it would double the time of an import."""
    try:
        for split in SPLITS:
            environment.task.sample(0, split)
    except ValueError as error:
        raise CardError(f"{path}: {environment.id}: {error}") from error


def _register(name: str) -> tuple[str, ...]:
    """Registers the environments of the card that ``load_card(name)`` returns, and returns their ids."""
    card = load_card(name)
    _check_ids(name, card)
    for environment in card.environments.values():
        if environment.id not in gym.registry:
            gym.register(
                id=environment.id,
                entry_point=ENTRY_POINT,
                vector_entry_point=VECTOR_ENTRY_POINT,
                max_episode_steps=environment.max_episode_steps,
                reward_threshold=environment.reward_threshold,
                kwargs={"card": name, "task": environment.id},
            )
    return tuple(card.environments)


def _check_ids(name: str, card: Card) -> None:
    """Raises a CardError if an id of a card is no id, or another's."""
    for id in card.environments:
        try:
            parse_env_id(id)
        except gym.error.Error as error:
            raise CardError(f"{name}: {error}") from None
        taken = gym.registry.get(id)
        if taken is not None and taken.kwargs.get("card") != name:
            raise CardError(f"{name}: the id {id!r} is already registered; give the environment another id")
