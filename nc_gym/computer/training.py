"""The fit loop: from training shards to a weights folder, in a given number of minutes.

Progress is measured in training time, not steps: the learning rate warms up, stays, and falls to zero over the last
part of the budget. A checkpoint is written every few minutes, whole or not at all, so a killed run goes on from the
last one. Losses, teacher-forced accuracy per command family and a closed-loop probe go to TensorBoard and the console.
"""

from __future__ import annotations

import copy
import dataclasses
import pickle
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from rich.console import Console
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from nc_gym.computer.boots import BootBank
from nc_gym.computer.computer import NeuralComputer
from nc_gym.computer.config import NeuralComputerConfig
from nc_gym.computer.course import Course, course_of
from nc_gym.computer.heap import give_back_freed_memory
from nc_gym.computer.objective import Batch
from nc_gym.computer.optimizer import MasterOptimizer
from nc_gym.computer.precision import fastest_dtype
from nc_gym.computer.weights import AnyNetwork, build

_AFTER_FULL_DISK = "free some space and start the same command again: the last checkpoint is whole"


class TrainingError(RuntimeError):
    """A training run cannot start or go on."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a training run learns, besides its data and the network's configuration."""

    minutes: float = 100.0  # training time in all, over every resumption
    seed: int = 0
    tokens_per_step: int = 8192
    max_tokens: int = 2560  # longer sessions are cut
    learning_rate: float = 3e-3
    warmup_minutes: float = 1.0
    decay_share: float = 0.4  # of the minutes, at the end, in which the rate falls to zero
    checkpoint_minutes: float = 3.0
    probe_minutes: float = 8.0
    probe_steps: int = 100  # of the closed loop


class Objective(nn.Module):
    """The losses as a module, so that accelerate can wrap it for several GPUs."""

    def __init__(self, net: AnyNetwork, course: Course) -> None:
        super().__init__()
        self.net, self.course = net, course

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """See ``Course.losses``."""
        return self.course.losses(self.net, batch, generator)


def rate_scale(elapsed: float, recipe: Recipe) -> float:
    """Returns the multiplier of the learning rate after ``elapsed`` minutes of training."""
    warm = (elapsed + 0.05) / recipe.warmup_minutes
    left = max(0.0, 1 - elapsed / recipe.minutes)
    return min(warm, left / recipe.decay_share, 1.0)


def on_cpu(device: str) -> bool:
    """Returns whether ``device`` means the CPU here; accelerate joins several processes on CPUs only if told so."""
    return device == "cpu" or not torch.accelerator.is_available()


def save_whole(state: object, path: Path) -> None:
    """Writes beside the target and renames, so that a killed run leaves the old file or the new one, never half."""
    partial = path.with_suffix(".partial")
    try:
        torch.save(state, partial)
    except (OSError, RuntimeError) as error:
        partial.unlink(missing_ok=True)
        raise TrainingError(f"{path} could not be written ({error}); {_AFTER_FULL_DISK}") from error
    partial.replace(path)


def load_whole(path: Path) -> Any:
    """Reads what ``save_whole`` wrote."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise TrainingError(f"{path} is damaged or of another version; remove it to start anew") from error


@contextmanager
def _of_this_network(path: Path) -> Iterator[None]:
    """Says clearly that a file of the run folder does not fit the network."""
    try:
        yield
    except TrainingError:
        raise
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:160]  # torch's may fill many lines
        raise TrainingError(
            f"{path} belongs to another network ({reason}); train into another folder, or remove this one to start anew"
        ) from error


class Trainer:
    """One resumable training run.

    Args:
        shards: shard files to learn from.
        held_out: shard files for the probes, never learned from.
        out: run folder: codec.pt, checkpoint.pt, tensorboard/, and at the end weights/.
        recipe: how to train.
        config: the network and its contract.
        device: "cpu", or "auto" for what accelerate finds.
        start: a trained network of this ``config`` to begin from, codec included; random weights if None.
        rolled: files of sessions that a desktop played by itself, to learn from as well.

    Raises:
        TrainingError: what an earlier start left in ``out`` cannot be gone on from.
    """

    def __init__(
        self, shards: list[Path], held_out: list[Path], out: Path, recipe: Recipe, config: NeuralComputerConfig,
        device: str = "auto", start: AnyNetwork | None = None, rolled: Sequence[Path] = (),
    ) -> None:  # fmt: skip
        out.mkdir(parents=True, exist_ok=True)
        self.out, self.recipe, self.shards, self.held_out = out, recipe, shards, held_out
        self.accelerator = Accelerator(cpu=on_cpu(device))
        self.console = Console()
        with torch.random.fork_rng():
            torch.manual_seed(recipe.seed)  # the initial weights
            self.net = build(config)
        self.course = course_of(config)
        if start is not None:
            self.net.load_state_dict(start.state_dict())
        self.fitted = start is not None  # a codec that was learned with the network must stay
        workers = max(1, torch.get_num_threads())
        with self.accelerator.main_process_first():  # the others read what it wrote
            self._load_codec()
            first, step = self.accelerator.process_index, self.accelerator.num_processes
            own = shards[first::step]  # one without any takes the first process's first, which is in the cache by now
            self.data = self.course.data(own or shards[:1], self.net, recipe.max_tokens, workers, rolled[first::step])
            self.probe_data = self.course.data(held_out, self.net, recipe.max_tokens, workers)
        counted = torch.tensor(len(self.data.sessions) if own else 0, device=self.accelerator.device)
        self.sessions = int(self.accelerator.reduce(counted))  # of all processes: each learns from files of its own
        self.dtype = fastest_dtype(self.accelerator.device)
        self.net.to(self.accelerator.device, self.dtype)
        self.net.codec.float()
        self.optimizer = MasterOptimizer(self.net, recipe.learning_rate)
        self.objective = self.accelerator.prepare(Objective(self.net, self.course))
        self.minutes, self.steps = 0.0, 0
        self.checkpoint = out / "checkpoint.pt"
        if self.checkpoint.exists():
            self._resume()
        process_seed = recipe.seed * 1_000_003 + self.steps * 1_009 + self.accelerator.process_index
        self.generator = torch.Generator().manual_seed(process_seed)
        self.writer = SummaryWriter(str(out / "tensorboard")) if self.accelerator.is_main_process else None

    def fit(self) -> None:
        """Trains until the minutes are used up."""
        with torch.random.fork_rng():  # dropout draws from the global stream, which is the caller's
            torch.manual_seed(self.generator.initial_seed())
            self._fit()

    def _fit(self) -> None:
        r, device = self.recipe, self.accelerator.device
        saved = probed = self.minutes
        means: dict[str, float] = {}
        batches = self.course.batches(self.data, self.net, r.tokens_per_step, self.generator)
        while self.minutes < r.minutes:
            start = time.perf_counter()
            batch = {name: tensor.to(device) for name, tensor in next(batches).items()}
            terms = self.objective(batch, self.generator)
            self.accelerator.backward(terms["total"])
            norm = self.optimizer.step(rate_scale(self.minutes, r))
            self.course.note(self.data, batch, terms)
            seconds = self._main_process_says(time.perf_counter() - start)
            self.steps += 1
            self.minutes += seconds / 60
            now = {name: float(value.detach()) for name, value in terms.items() if value.dim() == 0} | {"norm": norm}
            means = {name: 0.95 * means.get(name, value) + 0.05 * value for name, value in now.items()}
            if self.steps % 20 == 0:
                self._report(means, float(batch["valid"].sum()) / seconds * self.accelerator.num_processes)
            if self.minutes - saved >= r.checkpoint_minutes:
                self.save()
                give_back_freed_memory()
                saved = self.minutes
            if self.minutes - probed >= r.probe_minutes:
                self.probe()
                probed = self.minutes
        self.save()
        self.probe()
        if self.writer is not None:
            self.writer.close()

    def save(self) -> None:
        """Writes the checkpoint."""
        if self.accelerator.is_main_process:
            state = {"optimizer": self.optimizer.state_dict(), "minutes": self.minutes, "steps": self.steps}
            save_whole(state, self.checkpoint)

    def network(self) -> AnyNetwork:
        """Returns a float32 copy of the network as it stands."""
        network = copy.deepcopy(self.net).float()
        with torch.no_grad():
            for p, (_, master) in zip(network.parameters(), self.optimizer.pairs, strict=True):
                p.copy_(master)
        return network

    def probe(self) -> None:
        """Measures held-out sessions, teacher-forced and in closed loop."""
        if not self.held_out or not self.accelerator.is_main_process:
            return
        bank = self.course.probe_bank(self.net, self.probe_data, self.held_out[0])
        computer = NeuralComputer(self.network(), bank, device=str(self.accelerator.device))
        steps = self.recipe.probe_steps
        self.net.eval()
        result = self.course.probe(self.net, self.probe_data, self.held_out[0], computer, steps)
        self.net.train()
        self._write_scalars(result)
        self.console.print("probe: " + " ".join(f"{name.split('/')[1]} {value:.4f}" for name, value in result.items()))

    def write_weights(self, bank: BootBank, training: dict[str, object]) -> Path:
        """Writes the weights folder and returns it; ``training`` goes into its config.json."""
        facts = training | dataclasses.asdict(self.recipe) | {
            "trained_minutes": round(self.minutes, 1),
            "steps": self.steps,
            "processes": self.accelerator.num_processes,
            "sessions": self.sessions,
            "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}",
            "number_format": str(self.dtype).removeprefix("torch."),
        }  # fmt: skip
        network = self.network()
        network.config = dataclasses.replace(network.config, training=facts)
        weights = self.out / "weights"
        NeuralComputer(network, bank, device="cpu").save_pretrained(weights)
        return weights

    def _load_codec(self) -> None:
        """Reads the codec of an earlier start of this run, or fits it on the shards."""
        path = self.out / "codec.pt"
        if path.exists():
            with _of_this_network(path):
                saved = load_whole(path)
                for name, table in self.net.named_buffers():
                    table.copy_(saved[name])
        else:
            if not self.fitted:
                self.course.fit_codec(self.net, self.shards, self.recipe.seed)
            save_whole(dict(self.net.named_buffers()), path)

    def _resume(self) -> None:
        """Goes on from the checkpoint."""
        with _of_this_network(self.checkpoint):
            saved = load_whole(self.checkpoint)
            self.optimizer.load_state_dict(saved["optimizer"])
            self.minutes, self.steps = saved["minutes"], saved["steps"]
        if self.accelerator.is_main_process:
            self.console.print(f"resuming {self.out} at step {self.steps}, {self.minutes:.1f} minutes")

    def _main_process_says(self, seconds: float) -> float:
        """Returns the main process's value in every process, so that all end after the same step."""
        if self.accelerator.num_processes == 1:
            return seconds
        return float(broadcast(torch.tensor(seconds, dtype=torch.float64, device=self.accelerator.device)))

    def _write_scalars(self, values: dict[str, float]) -> None:
        """Gives numbers to TensorBoard."""
        if self.writer is None:
            return
        try:
            for name, value in values.items():
                self.writer.add_scalar(name, value, self.steps)
            self.writer.flush()
        except OSError as error:
            raise TrainingError(
                f"{self.out / 'tensorboard'} could not be written ({error}); {_AFTER_FULL_DISK}"
            ) from error

    def _report(self, means: dict[str, float], speed: float) -> None:
        """Tells how training goes."""
        self._write_scalars({f"train/{name}": value for name, value in means.items()})
        if self.accelerator.is_main_process:
            self.console.print(
                f"step {self.steps}, {self.minutes:.1f} of {self.recipe.minutes:g} min: loss {means['total']:.4f}, "
                f"tokens right {means['token_right']:.4f}, tiles rendered right {means['rendered_right']:.4f}, "
                f"{speed:.0f} tokens/s"
            )
