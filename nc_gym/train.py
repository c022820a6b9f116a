"""``nc-gym train``: from a folder of traces to a weights folder; the shipped weights are several such runs in turn.

Joins what may not know each other: traces become shards, the card's boots are recorded on the real machine, and the fit
loop of ``computer/training.py`` does the rest. Everything a killed run leaves behind is picked up when it starts again.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import PartialState

import nc_gym
from nc_gym.computer import weights as weights_files
from nc_gym.computer.batches import find_shards
from nc_gym.computer.boots import BootBank
from nc_gym.computer.config import NeuralComputerConfig
from nc_gym.computer.heap import keep_freed_memory
from nc_gym.computer.patches import name_sprites
from nc_gym.computer.training import Recipe, Trainer, TrainingError, on_cpu
from nc_gym.machines import desktop_events, keys
from nc_gym.machines.desktop import XDesktop
from nc_gym.machines.terminal import BashTerminal
from nc_gym.registration import load_card
from nc_gym.traces.census import census
from nc_gym.traces.dataset import build_shards
from nc_gym.traces.desktop_dataset import build_desktop_shards, sprite_images


class Subject(Protocol):
    """What a real computer brings to the training of its neural twin."""

    recipe: Recipe
    suffix: str  # of its recordings

    def config(self) -> NeuralComputerConfig:
        """Returns the shipped network's configuration."""

    def build_shards(self, traces: Path, out: Path) -> None:
        """Turns recordings into shards below ``out``."""

    def record_boots(self, net: Any, config: NeuralComputerConfig) -> BootBank:
        """Records the boots of ``config`` on the real computer, named by the network's tables."""


class TerminalSubject:
    """Bash in a terminal."""

    recipe = Recipe(tokens_per_step=4096, learning_rate=2e-3, decay_share=0.5)
    suffix = ".cast"

    def config(self) -> NeuralComputerConfig:
        """See ``Subject``."""
        return NeuralComputerConfig(keys=keys.KEYS, boots=load_card("terminal").boots)

    def build_shards(self, traces: Path, out: Path) -> None:
        """See ``Subject``."""
        build_shards(traces, out)

    def record_boots(self, net: Any, config: NeuralComputerConfig) -> BootBank:
        """See ``Subject``."""
        recorded = []
        with BashTerminal(1) as machine:
            everyone, zero = np.ones(1, bool), np.zeros(1, np.int64)
            for events in config.boots:
                machine.reset(everyone, zero, zero)
                screens = [machine.screens()[0]]
                for event in events:
                    machine.step(np.array([event]), everyone)
                    screens.append(machine.screens()[0])
                recorded.append((list(events), torch.from_numpy(np.stack(screens))))
        return BootBank.record(net.codec, recorded)


class DesktopSubject:
    """An X11 desktop. Its only boot is the fresh desktop: what else an episode begins with, the neural one acts out."""

    recipe = Recipe(tokens_per_step=3840, max_tokens=1000, learning_rate=2e-3, decay_share=0.5)
    suffix = ".jsonl"

    def config(self) -> NeuralComputerConfig:
        """See ``Subject``."""
        return NeuralComputerConfig(
            machine="desktop", screen_height=desktop_events.HEIGHT, screen_width=desktop_events.WIDTH, tile_height=4,
            tile_width=4, keys=desktop_events.KEYS, event_sizes=desktop_events.SIZES, patch=4, num_codes=2048,
            latent_dim=32, group=16, renderer_width=96, num_layers=4, gaze_layers=(), memory_tokens=1024,
            frame=(1, 4, 1, 1),
        )  # fmt: skip

    def build_shards(self, traces: Path, out: Path) -> None:
        """See ``Subject``."""
        build_desktop_shards(traces, out)

    def record_boots(self, net: Any, config: NeuralComputerConfig) -> BootBank:
        """See ``Subject``."""
        with XDesktop(1) as machine:
            machine.reset(np.ones(1, bool), np.zeros(1, np.int64), np.zeros(1, np.int64))
            screens = torch.from_numpy(machine.bare_screens())
            x, y, shape = machine.pointers()[0].tolist()
            image = name_sprites(sprite_images([machine.sprites[shape]]), net.sprites.cpu().numpy())[0]
        bank = BootBank.record(net.codec, [([], screens)])
        bank.pointers = torch.tensor([[x // config.tile_width, y // config.tile_height, int(image)]], dtype=torch.int16)
        return bank


def _revision() -> str:
    """Returns the git revision of the code, "unknown" where the package is no checkout."""
    root = Path(nc_gym.__file__).parents[1]
    git = ["git", "-C", str(root), "rev-parse", "HEAD"]
    if not (root / ".git").exists():  # the repository around an installed package is another one
        return "unknown"
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


RECORDINGS = "recordings.json"
SUBJECTS: dict[str, Subject] = {"terminal": TerminalSubject(), "desktop": DesktopSubject()}


def split_shards(shards: list[Path]) -> tuple[list[Path], list[Path]]:
    """Keeps the last shard from training, for the probes; a single shard serves both."""
    return (shards[:-1], shards[-1:]) if len(shards) > 1 else (shards, shards)


def train(
    traces: Path, minutes: float, out: Path, seed: int, threads: int | None, device: str,
    config: NeuralComputerConfig | None = None, start: Path | None = None, computer: str = "terminal",
    changes: Mapping[str, float | int] | None = None,
) -> Path:  # fmt: skip
    """Trains a neural computer and returns its weights folder.

    Args:
        traces: folder of `nc-gym collect`; shards are built below ``out``.
        minutes: training time in all, over every resumption.
        out: run folder.
        seed: of the initial weights and the order of batches.
        threads: of torch; all cores if None.
        device: "auto" and "cpu" are understood here; `accelerate launch` chooses GPUs.
        config: the network; the shipped one's if None.
        start: weights folder to begin from, whose configuration then holds; random weights if None.
        computer: "terminal" or "desktop".
        changes: fields of the computer's ``Recipe`` that shall be other than it has them.
    """
    if device not in ("auto", "cpu"):
        raise TrainingError(f"device={device!r}; use auto or cpu here, and `accelerate launch` to choose GPUs")
    keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)
    subject = SUBJECTS[computer]
    config, network = config or subject.config(), None
    if start is not None:
        network, _ = weights_files.load(start)
        config = network.config
        if config.machine != computer:
            raise TrainingError(f"{start} holds the weights of a {config.machine}, not of a {computer}; choose others")
    shard_folder, source = out / "shards", out / "traces.txt"
    if shard_folder.exists() and source.exists() and source.read_text() != str(traces.resolve()):
        raise TrainingError(
            f"{out} was started on the traces {source.read_text()}, not {traces.resolve()}; choose another --out"
        )
    with PartialState(cpu=on_cpu(device)).main_process_first():
        if not shard_folder.exists():
            partial = out / "shards-partial"  # renamed when whole, so that a killed start begins again
            shutil.rmtree(partial, ignore_errors=True)  # that start may have had other traces
            subject.build_shards(traces, partial)
            (partial / RECORDINGS).write_text(json.dumps(census(traces, subject.suffix)))
            source.write_text(str(traces.resolve()))
            partial.rename(shard_folder)
    learned, held_out = split_shards(find_shards([shard_folder]))
    changes = changes or {}
    recipe = dataclasses.replace(subject.recipe, minutes=minutes, seed=seed, **changes)  # type: ignore[arg-type]
    rolled = sorted(shard_folder.glob("rolled-*.npz"))
    trainer = Trainer(learned, held_out, out, recipe, config, device, network, rolled)
    bank = None
    if trainer.accelerator.is_main_process:  # before the long part: it fails where the real computer is missing
        bank = subject.record_boots(trainer.net, config)
    trainer.fit()
    weights = out / "weights"
    if bank is not None:
        options = {"minutes": f"{minutes:g}", "seed": seed, **changes} | ({"start": start} if start else {})
        command = f"nc-gym train {computer} " + " ".join(
            f"--{name.replace('_', '-')} {value}" for name, value in options.items()
        )
        facts: dict[str, object] = {
            "command": command, "nc_gym": nc_gym.__version__, "revision": _revision(), "traces": str(traces),
        }  # fmt: skip
        recordings = shard_folder / RECORDINGS
        if recordings.exists():  # not in run folders of an older version
            facts["recordings"] = json.loads(recordings.read_text())
        trainer.write_weights(bank, facts)
        trainer.console.print(f"weights written to {weights}")
    return weights
