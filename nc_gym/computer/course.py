"""What a training run learns by: the batches, losses and probes of each kind of network, behind one interface."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from nc_gym.computer import objective, patch_objective
from nc_gym.computer.batches import TokenData, count_tiles, read_shard
from nc_gym.computer.boots import BootBank
from nc_gym.computer.codec import fit_codec
from nc_gym.computer.computer import NeuralComputer
from nc_gym.computer.config import NeuralComputerConfig
from nc_gym.computer.objective import Batch
from nc_gym.computer.patch_batches import PatchData, fit_patch_codec
from nc_gym.computer.patch_probe import first_boot, forced_accuracy, patch_closed_loop
from nc_gym.computer.probe import closed_loop, family_accuracy

PROBE_SESSIONS, PROBE_ROWS = 64, 32


class Course(Protocol):
    """How one kind of network is trained. ``data`` is what ``Course.data`` returned; the networks fit the course."""

    def fit_codec(self, net: Any, shards: list[Path], seed: int) -> None:
        """Learns the network's tables from the shards, in place."""

    def data(self, shards: list[Path], net: Any, longest: int, workers: int, rolled: Sequence[Path] = ()) -> Any:
        """Reads the shards, and what a computer played by itself; sessions longer than ``longest`` tokens are cut."""

    def batches(self, data: Any, net: Any, tokens: int, generator: torch.Generator) -> Iterator[Batch]:
        """Yields random batches of about ``tokens`` tokens without end, corrupted as the network shall bear it."""

    def losses(self, net: Any, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Returns the loss terms, ``total`` among them, and ``token_right`` and ``rendered_right``."""

    def note(self, data: Any, batch: Batch, terms: dict[str, Tensor]) -> None:
        """Lets the data know how a batch went, for the choice of the next ones."""

    def probe(self, net: Any, data: Any, shard: Path, computer: NeuralComputer, steps: int) -> dict[str, float]:
        """Measures held-out sessions: teacher-forced (of ``net``) and in closed loop (of ``computer``)."""

    def probe_bank(self, net: Any, data: Any, shard: Path) -> BootBank:
        """Returns a bank of one boot without events: how a session began."""


class TokenCourse:
    """For networks whose log reads what they draw."""

    def fit_codec(self, net: Any, shards: list[Path], seed: int) -> None:
        """See ``Course``."""
        fit_codec(net.codec, *count_tiles(shards), seed=seed)

    def data(self, shards: list[Path], net: Any, longest: int, workers: int, rolled: Sequence[Path] = ()) -> TokenData:
        """See ``Course``."""
        if rolled:
            raise ValueError(f"{rolled[0]} was played by a desktop; move it away from a terminal's shards")
        return TokenData(shards, net.codec, longest, workers)

    def batches(self, data: TokenData, net: Any, tokens: int, generator: torch.Generator) -> Iterator[Batch]:
        """See ``Course``."""
        used = net.codec.used_codes()
        for batch in data.batches(tokens, generator):
            yield objective.corrupt(batch, generator, net.config.num_codes, used)

    def losses(self, net: Any, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """See ``Course``."""
        return objective.losses(net, batch, generator)

    def note(self, data: TokenData, batch: Batch, terms: dict[str, Tensor]) -> None:
        """See ``Course``."""
        valid = batch["valid"]
        right = torch.ones_like(valid).masked_scatter(valid, terms["token_right_each"]).all(-1)
        data.note(batch["session"].cpu().numpy(), right.cpu().numpy())

    def probe(self, net: Any, data: TokenData, shard: Path, computer: NeuralComputer, steps: int) -> dict[str, float]:
        """See ``Course``."""
        chosen = list(range(min(PROBE_SESSIONS, len(data.sessions))))
        result = {f"exact/{name}": x for name, x in family_accuracy(net, data, chosen).items()}
        run = closed_loop(computer, shard, PROBE_ROWS, steps)
        for step in (steps // 4, steps // 2, steps):
            if len(run.exact):
                result[f"closed_loop/exact_{step}"] = float(run.exact[:, step - 1].mean())
                result[f"closed_loop/tiles_{step}"] = float(run.tiles[:, step - 1].mean())
        return result

    def probe_bank(self, net: Any, data: TokenData, shard: Path) -> BootBank:
        """See ``Course``."""
        arrays = read_shard(shard)
        first = torch.from_numpy(arrays["tiles"][arrays["screen0"][0]])
        codes = net.codec.encode_tiles(first.to(net.codec.prototypes.device))
        return BootBank(codes[None].to(torch.int16).cpu(), torch.zeros(0, dtype=torch.int16), torch.tensor([0, 0]))


class PatchCourse:
    """For networks with a pointer, which paint patches."""

    TOKENS_PER_PAINTED = 28  # events of the log for each event that is painted: the painter is what costs

    def fit_codec(self, net: Any, shards: list[Path], seed: int) -> None:
        """See ``Course``."""
        fit_patch_codec(net, shards, seed)

    def data(self, shards: list[Path], net: Any, longest: int, workers: int, rolled: Sequence[Path] = ()) -> PatchData:
        """See ``Course``."""
        return PatchData(shards, net, longest, workers, rolled)

    def batches(self, data: PatchData, net: Any, tokens: int, generator: torch.Generator) -> Iterator[Batch]:
        """See ``Course``."""
        return data.batches(tokens, max(1, tokens // self.TOKENS_PER_PAINTED), generator)

    def losses(self, net: Any, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """See ``Course``."""
        return patch_objective.losses(net, batch, generator, corrupted=True)

    def note(self, data: PatchData, batch: Batch, terms: dict[str, Tensor]) -> None:
        """See ``Course``."""
        data.difficulty.note(batch["kind"].cpu().numpy(), terms["event_loss"].cpu().numpy())

    def probe(self, net: Any, data: PatchData, shard: Path, computer: NeuralComputer, steps: int) -> dict[str, float]:
        """See ``Course``."""
        result = {f"forced/{name}": x for name, x in forced_accuracy(net, data, PROBE_ROWS).items()}
        run = patch_closed_loop(computer, data, PROBE_ROWS, steps)
        for step in (steps // 4, steps // 2, steps):
            for name, values in run.items():
                if len(values):
                    result[f"closed_loop/{name}_{step}"] = float(values[:, step - 1].mean())
        return result

    def probe_bank(self, net: Any, data: PatchData, shard: Path) -> BootBank:
        """See ``Course``."""
        return first_boot(data)


def course_of(config: NeuralComputerConfig) -> Course:
    """Returns the course that trains networks of this configuration."""
    return PatchCourse() if config.event_sizes else TokenCourse()
