"""``nc-gym train``: from a folder of traces to a weights folder, with the recipe that made the shipped weights.

Joins what may not know each other: traces become shards, the card's boots are recorded on the real machine, and the fit
loop of ``computer/training.py`` does the rest. Everything a killed run leaves behind is picked up when it starts again.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState

from nc_gym.computer import weights as weights_files
from nc_gym.computer.batches import find_shards
from nc_gym.computer.boots import BootBank
from nc_gym.computer.codec import TileCodec
from nc_gym.computer.config import NeuralComputerConfig
from nc_gym.computer.training import Recipe, Trainer, TrainingError
from nc_gym.machines.keys import KEYS, encode
from nc_gym.machines.terminal import BashTerminal
from nc_gym.registration import load_card
from nc_gym.traces.dataset import build_shards


def keep_freed_memory() -> None:
    """Tells glibc to keep large freed blocks: asking the kernel for them anew doubles the cost of a training step."""
    M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, LARGE = -1, -3, 2**31 - 1
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # not on macOS or musl
        libc.mallopt(M_MMAP_THRESHOLD, LARGE)
        libc.mallopt(M_TRIM_THRESHOLD, LARGE)


def record_boots(codec: TileCodec, texts: Sequence[str]) -> BootBank:
    """Types each text into a fresh real terminal and keeps the screens as a boot bank."""
    recorded = []
    with BashTerminal(1) as machine:
        everyone, zero = np.ones(1, bool), np.zeros(1, np.int64)
        for text in texts:
            machine.reset(everyone, zero, zero)
            screens = [machine.screens()[0]]
            for event in encode(text):
                machine.step(np.array([event]), everyone)
                screens.append(machine.screens()[0])
            recorded.append((encode(text), torch.from_numpy(np.stack(screens))))
    return BootBank.record(codec, recorded)


def split_shards(shards: list[Path]) -> tuple[list[Path], list[Path]]:
    """Keeps the last shard from training, for the probes; a single shard serves both."""
    return (shards[:-1], shards[-1:]) if len(shards) > 1 else (shards, shards)


def train(
    traces: Path, minutes: float, out: Path, seed: int, threads: int | None, device: str,
    config: NeuralComputerConfig | None = None, start: Path | None = None,
) -> Path:  # fmt: skip
    """Trains a neural terminal and returns its weights folder.

    Args:
        traces: folder of `nc-gym collect terminal`; shards are built below ``out``.
        minutes: training time in all, over every resumption.
        out: run folder.
        seed: of the initial weights and the order of batches.
        threads: of torch; all cores if None.
        device: "auto" and "cpu" are understood here; `accelerate launch` chooses GPUs.
        config: the network; the shipped one's if None.
        start: weights folder to begin from, whose configuration then holds; random weights if None.
    """
    if device not in ("auto", "cpu"):
        raise TrainingError(f"device={device!r}; use auto or cpu here, and `accelerate launch` to choose GPUs")
    keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)
    texts = load_card("terminal").boots
    if config is None:
        config = NeuralComputerConfig(keys=KEYS, boots=tuple(tuple(encode(text)) for text in texts))
    network = None
    if start is not None:
        network, _ = weights_files.load(start)
        config = network.config
    shard_folder, source = out / "shards", out / "traces.txt"
    if source.exists() and source.read_text() != str(traces.resolve()):
        raise TrainingError(
            f"{out} was started on the traces {source.read_text()}, not {traces.resolve()}; choose another --out"
        )
    with PartialState(cpu=device == "cpu").main_process_first():
        if not shard_folder.exists():
            partial = out / "shards-partial"  # renamed when whole, so that a killed start begins again
            build_shards(traces, partial)
            partial.rename(shard_folder)
            source.write_text(str(traces.resolve()))
    learned, held_out = split_shards(find_shards([shard_folder]))
    trainer = Trainer(learned, held_out, out, Recipe(minutes=minutes, seed=seed), config, device, network)
    trainer.fit()
    weights = out / "weights"
    if trainer.accelerator.is_main_process:
        bank = record_boots(trainer.net.codec, texts)
        command = f"nc-gym train terminal --minutes {minutes:g} --seed {seed}" + (f" --start {start}" if start else "")
        trainer.write_weights(bank, {"command": command})
        trainer.console.print(f"weights written to {weights}")
    return weights
