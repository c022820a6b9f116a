"""A tiny neural desktop with random weights, and training shards made from any framebuffers.

The screen has 4x5 patches. Real code, nonsense on the screen: what is painted depends on the events before.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nc_gym.computer.boots import BootBank
from nc_gym.computer.computer import NeuralComputer
from nc_gym.computer.config import NeuralComputerConfig
from nc_gym.computer.painter import DRAW, SOURCES
from nc_gym.computer.patch_network import PatchNetwork
from nc_gym.computer.window_table import CLASSES, EDGE, FIELDS
from nc_gym.machines.desktop_events import HEIGHT, KEYS, SIZES, WIDTH

CODES = 40


def tiny_config(**changes: object) -> NeuralComputerConfig:
    sizes = {
        "machine": "desktop", "screen_height": 64, "screen_width": 80, "tile_height": 4, "tile_width": 4,
        "keys": ("noop", "a", "b"), "event_sizes": (20, 16, 8, 3), "patch": 4, "num_codes": CODES, "latent_dim": 8,
        "width": 32, "num_layers": 2, "num_heads": 2, "num_kv_heads": 1, "gaze_layers": (), "group": 16,
        "renderer_width": 16, "renderer_layers": 1, "memory_tokens": 64, "versions": 4, "scout_width": 32,
        "patch_width": 16, "scout_layers": 1, "painter_layers": 2, "num_sprites": 2,
    }  # fmt: skip
    return NeuralComputerConfig(**(sizes | changes))  # type: ignore[arg-type]


def tiny_desktop(seed: int = 0, **changes: object) -> NeuralComputer:
    """Builds the computer: distinct one-coloured tiles, two pointers, a plain first screen."""
    config = tiny_config(**changes)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = PatchNetwork(config)
    for parameter in network.parameters():
        if not parameter.any():  # what training starts at zero would make every history alike
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2
    network.outlook.read.bias.data[0] = -1.0  # the screen may change,
    network.scout.damage.bias.data += 1.0  # somewhere
    network.painter.source.bias.data.view(-1, SOURCES)[:, DRAW] += 1.0
    network.denoiser.codes.weight.data *= 5  # what is drawn differs from tile to tile
    network.table.source.bias.data *= 0.1  # and so may the windows
    network.table.new.weight.data *= 10
    _, fresh, mode, _, _ = network.table.parts(network.table.source.bias.data)
    mode[..., -1] += 1.0  # boxes are said anew
    fresh[..., 3:] += 4.0
    fresh[..., :3] += 0.5  # windows come and go
    sides = network.table.new.bias.data.view(config.windows, -1, CLASSES)[:, 3:]
    sides[:, :2, EDGE : EDGE + 12] += 4.0  # and lie on the screen
    sides[:, 2:, 4:9] += 4.0
    shades = torch.arange(CODES, dtype=torch.uint8) * 6
    network.codec.prototypes[:] = shades[:, None, None, None]
    network.codec.code_latents[:] = torch.randn(CODES, 8, generator=generator)
    network.sprites[0, :4, :4] = 255
    network.sprites[1, :8, :2] = 200
    codes = torch.zeros(1, config.num_tiles, dtype=torch.int16)
    bank = BootBank(
        codes, torch.zeros(0, dtype=torch.int16), torch.tensor([0, 0]), torch.tensor([[10, 8, 0]], dtype=torch.int16)
    )
    return NeuralComputer(network, bank, device="cpu", dtype=torch.float64)  # no rounding decides what is painted


def save_tiny_desktop(path: Path, seed: int = 2) -> Path:
    """Writes a weights folder and returns it: as tiny, but with the screen and the events of the real desktop."""
    sizes = {"screen_height": HEIGHT, "screen_width": WIDTH, "keys": KEYS, "event_sizes": SIZES}
    computer = tiny_desktop(seed, **sizes)
    computer.network.scout.damage.bias.data += 2.0  # something changes
    computer.network.painter.source.bias.data.view(-1, SOURCES)[:, DRAW] += 2.0  # and is drawn
    computer.save_pretrained(path)
    return path


def random_events(rng: np.random.Generator, *shape: int) -> NDArray[np.int64]:
    """Draws events (*shape, 4) of the tiny desktop."""
    return np.stack([rng.integers(n, size=shape) for n in tiny_config().event_sizes], -1)


def write_shard(
    path: Path, network: PatchNetwork, frames: NDArray[np.int64], events: NDArray[np.int64], sprites: NDArray[np.int64],
    windows: NDArray[np.int64] | None = None,
) -> Path:  # fmt: skip
    """Writes sessions as a shard.

    Args:
        path: of the shard.
        network: its tables are the tiles and the pointers.
        frames: codes (S, T + 1, tiles).
        events: (S, T, 4).
        sprites: image of the pointer (S, T + 1).
        windows: tables (S, T, K, FIELDS), sides in pixels; none are open if None.
    """
    c = network.config
    S, T = events.shape[:2]
    windows = np.zeros((S, T, c.windows, len(FIELDS))) if windows is None else windows
    patches = frames.reshape(S, T + 1, c.patch_rows, c.patch, c.patch_columns, c.patch)
    patches = patches.swapaxes(3, 4).reshape(S, T + 1, c.num_patches, -1)
    distinct, state = np.unique(patches.reshape(-1, patches.shape[-1]), axis=0, return_inverse=True)
    state = state.reshape(S, T + 1, c.num_patches)
    s, t, place = np.nonzero(state[:, 1:] != state[:, :-1])
    counts = np.bincount(s * T + t, minlength=S * T)
    np.savez(
        path, tiles=network.codec.prototypes.numpy(), patches=distinct.astype(np.int32),
        sprites=network.sprites.numpy(),
        hots=network.hots.numpy().astype(np.int16), screen0=state[:, 0].astype(np.int32),
        pointer0=np.concatenate([np.tile([40, 32], (S, 1)), sprites[:, :1]], 1).astype(np.int16),
        starts=np.arange(S + 1) * T, events=events.reshape(-1, 4).astype(np.int16),
        sprite=sprites[:, 1:].reshape(-1).astype(np.uint8), delta_starts=np.concatenate([[0], np.cumsum(counts)]),
        delta_patch=place.astype(np.int16), delta_state=state[:, 1:][s, t, place].astype(np.int32),
        family=np.zeros(S, np.uint8), families=np.array(["goal"]),
        windows=windows.reshape(-1, c.windows, len(FIELDS)).astype(np.int16),
    )  # fmt: skip
    return path


def table_of(*tasks: int) -> torch.Tensor:
    """A table of windows with these tasks, one below the other, and nothing in the rows that are left."""
    table = torch.zeros(1, tiny_config().windows, len(FIELDS), dtype=torch.int64)
    for row, number in enumerate(tasks):
        table[0, row] = torch.tensor([3, 1, number, *[EDGE + 2, EDGE + 2, 5, 5] * 2])
    return table
