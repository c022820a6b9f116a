"""A tiny neural terminal with random weights: real code and real glyph tiles, nonsense on the screen.

It boots to the same prompt as bash and then draws random glyphs at random places, differently for every history.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from nc_gym.computer.boots import BootBank
from nc_gym.computer.computer import NeuralComputer
from nc_gym.computer.config import NeuralComputerConfig
from nc_gym.computer.network import Network
from nc_gym.machines import font
from nc_gym.machines.keys import KEYS

GREY, BLACK = (170, 170, 170), (0, 0, 0)


def tiny_config(**changes: object) -> NeuralComputerConfig:
    sizes = {
        "keys": KEYS, "boots": ((),), "num_codes": 128, "latent_dim": 8, "width": 32, "num_layers": 2, "num_heads": 2,
        "num_kv_heads": 1, "gaze_layers": (1,), "gaze_dim": 8, "renderer_width": 32, "renderer_layers": 1,
        "memory_tokens": 256,
    }  # fmt: skip
    return NeuralComputerConfig(**(sizes | changes))  # type: ignore[arg-type]


def glyph_tiles(count: int) -> torch.Tensor:
    """Returns ``count`` distinct tiles, uint8 (count, 16, 8, 3): blank, every glyph, then inverse glyphs."""
    plain = [font.draw(glyph, GREY, BLACK) for glyph in range(len(font.GLYPHS))]
    inverse = [font.draw(glyph, BLACK, GREY) for glyph in range(len(font.GLYPHS))]
    return torch.from_numpy(np.stack([*plain, *inverse])[:count])


def prompt_screen() -> torch.Tensor:
    """Returns a fresh prompt, uint8 (1, 192, 320, 3)."""
    screen = np.zeros((1, 192, 320, 3), np.uint8)
    for column, char in enumerate("~$"):
        screen[0, :16, 8 * column : 8 * column + 8] = font.draw(font.glyph_index(char), GREY, BLACK)
    screen[0, :16, 24:32] = 170  # the cursor
    return torch.from_numpy(screen)


def tiny_computer(seed: int = 0, **changes: object) -> NeuralComputer:
    """Builds the computer. ``changes`` replace entries of its configuration."""
    config = tiny_config(**changes)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Network(config)
    for parameter in network.parameters():
        if not parameter.any():  # what training starts at zero would make every history alike
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2
    count = config.tile_rows + 1 + config.group + 1
    network.scout.read.bias.data[count : count + 2] = torch.tensor([2.0, 0.0])  # few tokens per event
    network.scout.read.bias.data[0] = 2.0  # and seldom a scroll
    network.codec.prototypes.copy_(glyph_tiles(config.num_codes))
    network.codec.code_latents.copy_(torch.randn(network.codec.code_latents.shape, generator=generator))
    boots = [(list(boot), prompt_screen().repeat(len(boot) + 1, 1, 1, 1)) for boot in config.boots]
    return NeuralComputer(network, BootBank.record(network.codec, boots), device="cpu")


def save_tiny_computer(path: Path, seed: int = 0, **changes: object) -> Path:
    """Writes a weights folder and returns it."""
    tiny_computer(seed, **changes).save_pretrained(path)
    return path
