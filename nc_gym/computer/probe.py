"""The probes of a training run: a network is measured on held-out recordings, teacher-forced and in closed loop.

Teacher-forced: per command family, the share of events drawn exactly. Closed loop: the computer runs recorded events on
its own screens; per step, the share of rows whose whole screen is right and the share of right tiles. Codes are
compared, which for a lossless codec is the same as pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nc_gym.computer.batches import TokenData, read_shard
from nc_gym.computer.computer import NeuralComputer
from nc_gym.computer.network import Network
from nc_gym.computer.objective import losses


def family_accuracy(net: Network, data: TokenData, chosen: list[int]) -> dict[str, float]:
    """Returns the teacher-forced share of events drawn exactly, all tokens right.

    Keys: ``none`` for events that are not Enter, ``enter`` for all Enter events, and each command family's name.
    """
    right: dict[str, list[float]] = {"enter": []}
    names = data.files[0].families
    generator = torch.Generator().manual_seed(0)
    for i in range(0, len(chosen), 16):
        batch = data.batch(chosen[i : i + 16])
        on_device = {name: tensor.to(net.codec.prototypes.device) for name, tensor in batch.items()}
        with torch.inference_mode():
            wrong = ~losses(net, on_device, generator)["token_right_each"].cpu()
        valid, index = batch["valid"], batch["index"]
        session = torch.arange(len(index))[:, None].expand_as(index)
        event_right = torch.ones_like(batch["family"], dtype=torch.bool)
        event_right[session[valid][wrong], index[valid][wrong]] = False
        real = torch.arange(event_right.shape[1]) <= index.amax(1)[:, None]
        for family, ok in zip(batch["family"][real].tolist(), event_right[real].tolist(), strict=True):
            right.setdefault(names[family], []).append(float(ok))
            if family:
                right["enter"].append(float(ok))
    return {name: float(np.mean(values)) for name, values in right.items() if values}


@dataclass(frozen=True)
class ClosedLoop:
    """What the probe measured on N sessions of up to T steps.

    Attributes:
        exact: bool (N, T), whether the whole screen was right after each step.
        tiles: float (N, T), share of right tiles among those that are not background in either screen.
    """

    exact: NDArray[np.bool_]
    tiles: NDArray[np.float64]


def closed_loop(computer: NeuralComputer, shard_path: Path, sessions: int, steps: int) -> ClosedLoop:
    """Runs the first ``sessions`` sessions of a shard for ``steps`` events from boot 0.

    Sessions shorter than ``steps`` are passed over.
    """
    shard = read_shard(shard_path)
    tiles_seen = torch.from_numpy(shard["tiles"]).to(computer.device)
    code_of = computer.network.codec.encode_tiles(tiles_seen).cpu().numpy()
    starts = shard["starts"]
    chosen = np.flatnonzero(np.diff(starts) >= steps)[:sessions]
    truth = code_of[shard["screen0"][chosen]]  # (N, tiles), brought up to date step by step
    zeros = torch.zeros(len(chosen), dtype=torch.int64)
    state = computer.boot(torch.arange(len(chosen)), zeros)
    exact = np.zeros((len(chosen), steps), bool)
    tiles = np.zeros((len(chosen), steps))
    for t in range(steps):
        events = shard["events"][starts[chosen] + t].astype(np.int64)
        computer.step(state, torch.from_numpy(events))
        for i, e in enumerate(starts[chosen] + t):
            changed = slice(shard["delta_starts"][e], shard["delta_starts"][e + 1])
            truth[i, shard["delta_pos"][changed]] = code_of[shard["delta_tile"][changed]]
        shown = state.codes.cpu().numpy()
        right, content = shown == truth, (shown != 0) | (truth != 0)
        exact[:, t] = right.all(1)
        tiles[:, t] = (right & content).sum(1) / np.maximum(content.sum(1), 1)
    return ClosedLoop(exact, tiles)
