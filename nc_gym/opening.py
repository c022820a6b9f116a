"""Opening the machine that an environment's options name: a real one, or a neural one with shared weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from nc_gym.actions import Actions, EventActions, WordActions
from nc_gym.inputs import Event
from nc_gym.machines.machine import Machine
from nc_gym.parameters import SPLITS
from nc_gym.paths import data_root
from nc_gym.registration import Card, EnvironmentCard, load_card
from nc_gym.tasks import Start

if TYPE_CHECKING:
    from nc_gym.computer.computer import NeuralComputer
    from nc_gym.computer.starts import Starts

MACHINES = ("neural", "real")
OBSERVATIONS = ("screen", "chars", "latent")


@dataclass(frozen=True)
class Options:
    """The constructor arguments that single and vector environments share; see ``nc_gym.env.ComputerEnv``.

    ``audit`` is the vector environment's alone.
    """

    card: str
    task: str
    machine: str = "neural"
    weights: str | None = None
    device: str = "auto"
    dtype: str | None = None
    denoise_steps: int | None = None
    obs: str = "screen"
    actions: str | None = None
    split: str = "train"
    audit: bool = True

    def __post_init__(self) -> None:
        check_choice("machine", self.machine, MACHINES)
        check_choice("obs", self.obs, OBSERVATIONS)
        check_choice("task", self.task, tuple(load_card(self.card).environments))
        check_choice("actions", self.actions, (None, *load_card(self.card).presets))
        check_choice("split", self.split, SPLITS)

    @property
    def environment(self) -> EnvironmentCard:
        """What the card says about the environment."""
        return load_card(self.card).environments[self.task]


def open_actions(options: Options) -> Actions:
    """Returns the action preset that ``options`` name."""
    preset = options.actions or options.environment.actions
    card = load_card(options.card)
    return WordActions(card.words, card.kind.inputs) if preset == "words" else EventActions(card.kind.inputs)


def check_choice(name: str, value: object, allowed: tuple[str | None, ...]) -> None:
    """Raises ValueError unless the argument called ``name`` has one of the ``allowed`` values."""
    if value not in allowed:
        raise ValueError(f"{name}={value!r} is unknown; choose one of {', '.join(map(repr, allowed))}")


@lru_cache(maxsize=8)
def _load_computer(weights: str, device: str, dtype: str | None, denoise_steps: int | None) -> NeuralComputer:
    import torch  # only a neural environment needs it

    from nc_gym.computer.computer import NeuralComputer

    number = None if dtype is None else getattr(torch, dtype, None)
    if dtype is not None and not (isinstance(number, torch.dtype) and number.is_floating_point):
        raise ValueError(f"dtype={dtype!r} is unknown; choose None, 'float32', 'bfloat16' or 'float16'")
    return NeuralComputer.from_pretrained(weights, device=device, dtype=number, denoise_steps=denoise_steps)


def shared_computer(options: Options) -> NeuralComputer:
    """Returns the network that ``options`` name; environments of one process share it.

    Raises:
        WeightsError: the weights are missing or damaged, or were trained for another computer than the card's.
    """
    card = load_card(options.card)
    weights = Path(options.weights) if options.weights else data_root() / "weights" / card.machine
    computer = _load_computer(str(weights.resolve()), options.device, options.dtype, options.denoise_steps)
    if options.weights is None and card.weights_sha256 is not None:
        _check_pin(weights / "model.safetensors", card.weights_sha256)
    _check_contract(computer, card, str(weights))
    return computer


@lru_cache(maxsize=8)
def _check_pin(file: Path, expected: str) -> None:
    from nc_gym.computer.weights import WeightsError, sha256

    found = sha256(file)
    if found != expected:
        raise WeightsError(
            f"{file} has sha256 {found} but the card pins {expected}; restore the file, or name it with weights=..."
        )


def _check_contract(computer: NeuralComputer, card: Card, weights: str) -> None:
    from nc_gym.computer.computer import WeightsError

    config = computer.config
    found: dict[str, object] = {"machine": config.machine, "keys": tuple(config.keys), "boots": _tuples(config.boots)}
    wanted: dict[str, object] = {"machine": card.machine, "keys": card.kind.inputs.keys, "boots": list(card.boots)}
    if card.kind.event_sizes:
        found["event_sizes"], wanted["event_sizes"] = tuple(config.event_sizes), card.kind.event_sizes
    for name, expected in wanted.items():
        if found[name] != expected:
            raise WeightsError(
                f"weights {weights} have {name} {found[name]!r} but the card says {expected!r}; "
                "use weights that were trained with this card"
            )


def _tuples(boots: Sequence[Sequence[int | Sequence[int]]]) -> list[tuple[Event, ...]]:
    """Returns boots as a card has them, whatever lists a file made of them."""
    return [tuple(e if isinstance(e, int) else tuple(e) for e in boot) for boot in boots]  # type: ignore[misc]


def open_machine(options: Options, num_rows: int) -> Machine:
    """Opens the machine that ``options`` name, with ``num_rows`` rows that still have to be reset."""
    if options.machine == "neural":
        computer = shared_computer(options)
        from nc_gym.computer.machine import NeuralMachine

        return NeuralMachine(computer, num_rows, starts=_shared_starts(computer, tuple(_starts(options))))
    card = load_card(options.card)
    return card.kind.open(num_rows, start_events(options))


def _starts(options: Options) -> list[Start]:
    return options.environment.task.starts(options.split, len(load_card(options.card).boots))


def start_events(options: Options) -> list[list[Event]]:
    """Returns, for each start of an environment's task, the events that lead there from a fresh computer."""
    boots = load_card(options.card).boots
    return [[*boots[start.boot], *start.events] for start in _starts(options)]


@lru_cache(maxsize=4)
def _shared_starts(computer: NeuralComputer, starts: tuple[Start, ...]) -> Starts:
    """Returns the starts of a task on a computer: environments of one process share them, the last four are kept."""
    from nc_gym.computer.starts import Starts

    return Starts(computer, [(start.boot, start.events) for start in starts])
