"""The fit loop: from a folder of training shards to a weights folder, in a given number of minutes.

Progress is measured in training time, not steps: the learning rate warms up, stays, and falls to zero over the last
part of the budget. A checkpoint is written every few minutes, whole or not at all, so a killed run continues from the
last one. Losses, teacher-forced accuracy per command family and a closed-loop probe go to TensorBoard.
"""

from __future__ import annotations

import json
import platform
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from rich.console import Console
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

from nc_gym.computer.batches import TokenData, count_tiles, find_shards
from nc_gym.computer.codec import fit_codec
from nc_gym.computer.config import NeuralComputerConfig
from nc_gym.computer.network import Network
from nc_gym.computer.objective import Batch, corrupt, losses
from nc_gym.computer.optimizer import MasterOptimizer


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a training run learns, besides its data."""

    minutes: float = 100.0
    seed: int = 0
    tokens_per_step: int = 8192
    max_tokens: int = 2560
    learning_rate: float = 2e-3
    muon_scale: float = 1.0
    warmup_minutes: float = 1.0
    decay_share: float = 0.4  # of the minutes, at the end, in which the rate falls to zero
    checkpoint_minutes: float = 3.0
    probe_minutes: float = 6.0
    threads: int = 2


class Objective(nn.Module):
    """The losses as a module, so that accelerate can wrap it for several GPUs."""

    def __init__(self, net: Network) -> None:
        super().__init__()
        self.net = net

    def forward(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        return losses(self.net, batch, generator)


def rate_scale(elapsed: float, recipe: Recipe) -> float:
    """Learning-rate multiplier after ``elapsed`` minutes of training."""
    warm = min(1.0, (elapsed + 0.05) / recipe.warmup_minutes)
    left = max(0.0, 1 - elapsed / recipe.minutes)
    return min(warm, left / recipe.decay_share, 1.0)


def family_accuracy(net: Network, data: TokenData, chosen: list[int]) -> dict[str, float]:
    """Returns the teacher-forced share of events drawn exactly: over key events, over Enter events and per family."""
    right: dict[int, list[float]] = {}
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        for i in range(0, len(chosen), 16):
            batch = data.batch(chosen[i : i + 16])
            token_right = losses(net, batch, generator)["token_right_each"]
            event_right = torch.ones_like(batch["family"], dtype=torch.bool)
            session = torch.arange(len(batch["event"]))[:, None].expand_as(batch["index"])
            wrong = ~token_right
            event_right[session[batch["valid"]][wrong], batch["index"][batch["valid"]][wrong]] = False
            events = batch["index"].amax(1) + 1
            real = torch.arange(event_right.shape[1]) < events[:, None]
            for family, ok in zip(batch["family"][real].tolist(), event_right[real].tolist(), strict=True):
                right.setdefault(family, []).append(float(ok))
    names = data.files[0].families
    out = {f"exact/{names[f]}": float(np.mean(v)) for f, v in sorted(right.items())}
    out["exact/all_enter"] = float(np.mean([x for f, v in right.items() if f for x in v]))
    return out


class Trainer:
    """One resumable training run in the folder ``out``."""

    def __init__(self, shards: list[Path], held_out: list[Path], out: Path, recipe: Recipe,
                 config: NeuralComputerConfig) -> None:
        torch.set_num_threads(recipe.threads)
        torch.manual_seed(recipe.seed)
        self.out, self.recipe = out, recipe
        out.mkdir(parents=True, exist_ok=True)
        self.accelerator = Accelerator()
        self.console = Console()
        self.net = Network(config)
        self.codec_path = out / "codec.pt"
        if self.codec_path.exists():
            self.net.codec.load_state_dict(torch.load(self.codec_path, weights_only=True))
        else:
            fit_codec(self.net.codec, *count_tiles(shards), seed=recipe.seed)
            save_whole(self.net.codec.state_dict(), self.codec_path)
        self.used_codes = int((self.net.codec.prototypes.flatten(1) != self.net.codec.prototypes[0].flatten()).any(1).sum()) + 1
        codec = self.net.codec
        self.data = TokenData(shards, codec, recipe.max_tokens, workers=recipe.threads)
        self.held_out = TokenData(held_out, codec, recipe.max_tokens, workers=1) if held_out else None
        self.net.to(self.accelerator.device, torch.bfloat16)
        self.net.codec.float()
        self.optimizer = MasterOptimizer(self.net, recipe.learning_rate, recipe.muon_scale)
        self.objective = self.accelerator.prepare(Objective(self.net))
        self.minutes, self.steps = 0.0, 0
        self.checkpoint = out / "checkpoint.pt"
        if self.checkpoint.exists():
            saved = torch.load(self.checkpoint, weights_only=True)
            self.optimizer.load_state_dict(saved["optimizer"])
            self.minutes, self.steps = saved["minutes"], saved["steps"]
            self.console.print(f"resuming {out} at step {self.steps}, {self.minutes:.1f} minutes")
        self.generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + self.steps)
        self.writer = SummaryWriter(str(out / "tensorboard"))

    def fit(self) -> None:
        """Trains until the minutes are used up."""
        r = self.recipe
        last_save = last_probe = self.minutes
        running: dict[str, float] = {}
        for batch in self.data.batches(r.tokens_per_step, self.generator):
            if self.minutes >= r.minutes:
                break
            start = time.perf_counter()
            batch = {k: v.to(self.accelerator.device) for k, v in batch.items()}
            noisy = corrupt(batch, self.generator, self.net.config.num_codes, self.used_codes)
            terms = self.objective(noisy, self.generator)
            self.accelerator.backward(terms["total"])
            norm = self.optimizer.step(rate_scale(self.minutes, r))
            self.steps += 1
            self.minutes += (time.perf_counter() - start) / 60
            for name, value in terms.items():
                if value.dim() == 0:
                    running[name] = 0.95 * running.get(name, float(value)) + 0.05 * float(value)
            if self.steps % 20 == 0:
                self.report(running, norm, len(noisy["event"]), int(noisy["valid"].sum()) / (time.perf_counter() - start))
            if self.minutes - last_save >= r.checkpoint_minutes:
                self.save()
                last_save = self.minutes
            if self.held_out and self.minutes - last_probe >= r.probe_minutes:
                self.probe()
                last_probe = self.minutes
        self.save()
        if self.held_out:
            self.probe()

    def report(self, running: dict[str, float], norm: float, rows: int, speed: float) -> None:
        for name, value in running.items():
            self.writer.add_scalar(f"train/{name}", value, self.steps)
        text = " ".join(f"{k} {v:.3f}" for k, v in running.items())
        self.console.print(
            f"step {self.steps} {self.minutes:.1f}/{self.recipe.minutes:.0f} min {text} norm {norm:.2f} rows {rows} {speed:.0f} tok/s"
        )

    def probe(self) -> None:
        assert self.held_out is not None
        chosen = list(range(min(64, len(self.held_out.sessions))))
        result = family_accuracy(self.net, self.held_out, chosen)
        for name, value in result.items():
            self.writer.add_scalar(name, value, self.steps)
        self.console.print(" ".join(f"{k.split('/')[1]} {v:.4f}" for k, v in result.items()))

    def save(self) -> None:
        save_whole({"optimizer": self.optimizer.state_dict(), "minutes": self.minutes, "steps": self.steps}, self.checkpoint)


def save_whole(state: object, path: Path) -> None:
    """Writes beside the target and renames, so that a killed run leaves the old file or the new one, never half."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)
