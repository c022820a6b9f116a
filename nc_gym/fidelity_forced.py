"""Teacher forcing: how often a neural computer draws the next screen right when everything before it was right.

The recorded sessions run through the event log in one pass; for every event the tiles are then denoised exactly as a
step would do it: same noise, same number of flow steps. So an event counts as right if, and only if, a computer whose
whole past equals the recording draws the tiles that the recording's tokens draw, at their places, and no others.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from nc_gym.computer.batches import TokenData
from nc_gym.computer.computer import NeuralComputer
from nc_gym.computer.event_log import LogTokens
from nc_gym.computer.network import Network
from nc_gym.computer.sampler import row_noise
from nc_gym.fidelity_run import Run
from nc_gym.machines.terminal import COLUMNS, ROWS
from nc_gym.traces.cast import Cast, write_cast
from nc_gym.traces.dataset import build_shards, load_shard

_SESSIONS_AT_ONCE = 4


@dataclass(frozen=True)
class Forced:
    """What teacher forcing measured.

    Attributes:
        right: whether the screen after each event was drawn right, all pixels, bool (N, T).
        tiles_in_codebook: share of the tiles drawn by real bash that the codec can show at all.
    """

    right: NDArray[np.bool_]
    tiles_in_codebook: float


def teacher_forced(computer: NeuralComputer, run: Run, progress: bool = False) -> Forced:
    """Judges every event of the sessions that the real machine of ``run`` played."""
    codec = copy.deepcopy(computer.network.codec).cpu()
    with TemporaryDirectory() as folder:
        path = record(run, Path(folder))
        shard = load_shard(path)
        data = TokenData([path], codec, max_tokens=1 << 40, workers=1)
        chunks = np.array_split(np.arange(len(data.sessions)), -(-len(data.sessions) // _SESSIONS_AT_ONCE))
        seeds = torch.from_numpy(run.sessions.seeds)
        right = [
            tokens_right(computer, data, chunk.tolist(), seeds[chunk])
            for chunk in track(chunks, "teacher forced", disable=not progress)
        ]
    tiles = torch.from_numpy(shard.tiles)
    known = (codec.prototypes[codec.encode_tiles(tiles)] == tiles).flatten(1).all(1).numpy()
    drawn = known[shard.delta_tile]
    lost = np.concatenate([[0], np.cumsum(~drawn)])[shard.delta_starts]  # tiles out of the codebook before each event
    whole = (np.diff(lost) == 0).reshape(run.sessions.events.shape)
    return Forced(np.concatenate(right) & whole, float(drawn.mean()) if len(drawn) else 1.0)


def record(run: Run, folder: Path) -> Path:
    """Writes the real side of ``run`` as one training shard and returns its path."""
    for n, outputs in enumerate(run.outputs):
        text = [output.decode("utf-8", "replace") for output in outputs]
        events, families = run.sessions.events[n].tolist(), run.sessions.families[n].tolist()
        write_cast(folder / f"{n:06d}.cast", Cast(COLUMNS, ROWS, {}, events, families, text))
    [path] = build_shards(folder, folder, sessions_per_shard=len(run.outputs), workers=1, progress=False)
    return path


@torch.inference_mode()
def tokens_right(computer: NeuralComputer, data: TokenData, chosen: list[int], seeds: Tensor) -> NDArray[np.bool_]:
    """Returns whether all tokens of each event of the ``chosen`` sessions come out right, bool (N, T).

    Args:
        computer: the computer to judge.
        data: token sessions of equally many events.
        chosen: which of them.
        seeds: noise stream of each, int64 (N,).
    """
    network, c = computer.network, computer.config
    assert isinstance(network, Network)  # of a terminal
    batch = {name: tensor.to(computer.device) for name, tensor in data.batch(chosen).items()}
    valid = batch["valid"]
    tokens = LogTokens(**{f.name: batch[f.name] for f in fields(LogTokens)})
    h = network.log(tokens, batch["gaze"], batch["index"])[valid]  # (M, d)
    session, clock = torch.nonzero(valid, as_tuple=True)
    shift, count, more, first, code, row, col, old = (
        batch[k][valid] for k in ("shift", "count", "more", "first", "code", "row", "col", "old")
    )
    damage = network.scout(h)
    right = (damage.count.argmax(-1) == count) & (damage.more.argmax(-1) == more)
    right &= (first == 0) | (damage.shift.argmax(-1) == shift)
    m, slot = torch.nonzero(code < c.num_codes, as_tuple=True)
    r, q = row[m, slot], col[m, slot]
    latents = network.codec.code_latents[old[m, slot]]
    condition = network.renderer.condition(network.renderer.slot_state(h)[m, slot], latents, r, q)
    noise = row_noise(seeds.to(computer.device)[session[m]], clock[m] * c.group + slot, c.latent_dim)
    drawn = network.codec.snap(computer.sampler.sample(network.renderer.at_level(condition), noise))
    placed = (damage.row.argmax(-1)[m, slot] == r) & (damage.col.argmax(-1)[m, slot] == q)
    right[m[~placed | (drawn != code[m, slot])]] = False
    events = torch.ones(len(chosen), batch["gaze"].shape[1], dtype=torch.bool, device=computer.device)
    events[session[~right], batch["index"][valid][~right]] = False
    return events.cpu().numpy()
