"""The probes of a training run of a computer with a pointer: held-out recordings, teacher-forced and in closed loop.

Codes are compared, which for a lossless codec is the same as pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from nc_gym.computer.boots import BootBank
from nc_gym.computer.computer import NeuralComputer
from nc_gym.computer.patch_batches import PatchData
from nc_gym.computer.patch_geometry import grid
from nc_gym.computer.patch_network import PatchNetwork
from nc_gym.computer.patch_objective import losses

_MEASURES = ("damage_recall", "damage_precision", "tile_right", "drawn_right", "rendered_right")


def first_boot(data: PatchData) -> BootBank:
    """Returns a bank of one boot without events: how the first session of ``data`` began."""
    file = data.files[0]
    first = file.codes[file.state[file.boot[0] : file.boot[0] + data.config.num_patches]]
    codes = torch.from_numpy(grid(first, data.config).reshape(1, -1).copy())
    pointer = torch.from_numpy(file.pointer0[:1].copy())
    return BootBank(codes, torch.zeros(0, dtype=torch.int16), torch.tensor([0, 0]), pointer)


def forced_accuracy(net: PatchNetwork, data: PatchData, sessions: int, painted: int = 6) -> dict[str, float]:
    """Returns means over the first sessions of what ``patch_objective.losses`` measures, after a true past."""
    generator = torch.Generator().manual_seed(0)
    chosen = list(range(min(sessions, len(data.sessions))))
    parts: list[dict[str, float]] = []
    for i in range(0, len(chosen), 8):
        some = chosen[i : i + 8]
        batch = data.batch(some, painted * len(some), generator)
        on_device = {name: tensor.to(net.codec.prototypes.device) for name, tensor in batch.items()}
        with torch.inference_mode():
            terms = losses(net, on_device, generator, corrupted=False)
        parts.append({name: float(terms[name]) for name in _MEASURES})
    return {name: float(np.mean([part[name] for part in parts])) for name in _MEASURES}


def patch_closed_loop(
    computer: NeuralComputer, data: PatchData, sessions: int, steps: int
) -> dict[str, NDArray[np.float64]]:
    """Runs the first sessions of ``data`` for ``steps`` events on the computer's own screens, from boot 0.

    Returns:
        ``exact``: whether the whole framebuffer is right after each step; ``tiles``: share of right tiles among those
        that differ from the boot's on either screen; ``sprite``: whether pointer and image are right; each (N, T).
    """
    c, names = data.config, ("exact", "tiles", "sprite")
    chosen = [(f, s) for f, s in data.sessions if np.diff(data.files[f].starts)[s] >= steps][:sessions]
    if not chosen:
        return {name: np.zeros((0, steps)) for name in names}
    zeros = torch.zeros(len(chosen), dtype=torch.int64)
    state = computer.boot(torch.arange(len(chosen)), zeros)
    boot = state.codes.cpu().numpy().copy()  # the state is stepped in place
    shown = [data.files[f].shown(s, c.num_patches) for f, s in chosen]
    out = {name: np.zeros((len(chosen), steps)) for name in names}
    for t in range(steps):
        rows = [int(data.files[f].starts[s]) + t for f, s in chosen]
        events = np.stack([data.files[f].events[e] for (f, _), e in zip(chosen, rows, strict=True)])
        computer.step(state, torch.from_numpy(events.astype(np.int64)))
        truth = np.stack([
            grid(data.files[f].codes[data.files[f].state[entries[t + 1]]], c).reshape(-1)
            for (f, _), entries in zip(chosen, shown, strict=True)
        ])  # fmt: skip
        codes = state.codes.cpu().numpy()
        right, content = codes == truth, (codes != boot) | (truth != boot)
        sprite = np.array([data.files[f].sprite[e] for (f, _), e in zip(chosen, rows, strict=True)])
        pointer = state.pointer.cpu().numpy()  # type: ignore[attr-defined]  # a PatchState
        out["exact"][:, t] = right.all(1)
        out["tiles"][:, t] = np.where(content.any(1), (right & content).sum(1) / content.sum(1).clip(min=1), 1.0)
        out["sprite"][:, t] = (pointer[:, :2] == events[:, :2]).all(1) & (pointer[:, 2] == sprite)
    return out
