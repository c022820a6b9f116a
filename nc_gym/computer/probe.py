"""The closed-loop probe: a neural computer runs recorded events on its own screens and is compared with the recording.

In: a shard of recorded sessions. Out: per step, the share of rows whose whole screen is right and the share of right
tiles. Codes are compared, which for a lossless codec is the same as pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nc_gym.computer.computer import NeuralComputer


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
    with np.load(shard_path) as f:
        shard = {name: f[name] for name in f.files}
    code_of = computer.network.codec.encode_tiles(torch.from_numpy(shard["tiles"])).cpu().numpy()
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
