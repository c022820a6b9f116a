"""The scout of a computer with a pointer: from h_t and the framebuffer to the damage.

It looks at every patch of the framebuffer, with the pointer as a heat map, and names those that change. What it saw is
what the painter (``painter.py``) works from.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nc_gym.computer.config import NeuralComputerConfig
from nc_gym.computer.event_log import norm
from nc_gym.computer.patch_geometry import middle_of, moved_from
from nc_gym.computer.window_table import WindowPlace

HEADS, HEAD_DIM = 4, 32
TRAITS = 8  # numbers by which the scout tells of a tile whether it moves along
_HEAT = (1.0, 6.0)  # widths of the pointer's heat maps, in tiles
_BLOCK = 2  # patches along a side of what the scout looks at as a whole


def mix_patches(x: Tensor) -> Tensor:
    """Mixes each place of x (A, R, C, d) with its four neighbours: half of the channels are its own."""
    e = x.shape[-1] // 8
    right = F.pad(x[:, :, :-1, 4 * e : 5 * e], (0, 0, 1, 0))
    left = F.pad(x[:, :, 1:, 5 * e : 6 * e], (0, 0, 0, 1))
    down = F.pad(x[:, :-1, :, 6 * e : 7 * e], (0, 0, 0, 0, 1, 0))
    up = F.pad(x[:, 1:, :, 7 * e :], (0, 0, 0, 0, 0, 1))
    return torch.cat([x[..., : 4 * e], right, left, down, up], -1)


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Multi-head attention by plain products: q (..., Q, H * hd) over k, v (..., K, H * hd)."""
    q, k, v = (x.unflatten(-1, (HEADS, HEAD_DIM)).transpose(-3, -2) for x in (q, k, v))
    weight = (norm(q) @ norm(k).transpose(-2, -1) * (4 * HEAD_DIM**-0.5)).softmax(-1)
    return (weight @ v).transpose(-3, -2).flatten(-2)


class ScoutBlock(nn.Module):
    """Attention among all blocks of patches and an MLP, both on blocks mixed with their neighbours."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * HEADS * HEAD_DIM, bias=False)
        self.out = nn.Linear(HEADS * HEAD_DIM, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.down.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Maps x (A, R, C, w) to the same shape."""
        q, k, v = self.qkv(mix_patches(norm(x))).flatten(1, 2).chunk(3, -1)
        x = x + self.out(attention(q, k, v)).view_as(x)
        return x + self.down(F.gelu(self.up(mix_patches(norm(x))), approximate="tanh"))


@dataclass
class Scouted:
    """What the scout saw on A framebuffers."""

    blocks: Tensor  # (A, blocks, w)
    patches: Tensor  # (A, patches, e)
    traits: Tensor  # (A, patches, 16, TRAITS) of the tiles
    carried: Tensor  # (A, patches, 16, TRAITS + 1) of the tiles that the motion brings there, and whether any comes


class PatchScout(nn.Module):
    """Looks at the whole framebuffer, in blocks of 2x2 patches: features and damage of every patch.

    What part of the screen a motion takes along is seen where that part still lies; so the scout says it of every tile
    there, in a few traits, and these travel with the motion to where the tile may show next.
    """

    def __init__(self, config: NeuralComputerConfig) -> None:
        super().__init__()
        self.config = config
        w, e = config.scout_width, config.patch_width
        self.rows, self.columns = -(-config.patch_rows // _BLOCK), -(-config.patch_columns // _BLOCK)
        heat = (len(_HEAT) + 1) * config.patch**2
        self.backed = nn.Linear(e, e, bias=False)
        self.block_in = nn.Linear(_BLOCK**2 * (e + heat), w, bias=False)
        self.memory = nn.Linear(config.width, w, bias=False)
        self.place = nn.Parameter(torch.randn(self.rows, self.columns, w) * 0.5)
        self.from_row = nn.Embedding(2 * config.patch_rows - 1, w)
        self.from_column = nn.Embedding(2 * config.patch_columns - 1, w)
        self.blocks = nn.ModuleList(ScoutBlock(w) for _ in range(config.scout_layers))
        self.block_out = nn.Linear(w, _BLOCK**2 * e, bias=False)
        self.inside = WindowPlace(config, e)
        self.up = nn.Linear(e, 2 * e, bias=False)
        self.down = nn.Linear(2 * e, e, bias=False)
        self.traits = nn.Linear(e, config.patch**2 * TRAITS, bias=False)
        self.carried_up = nn.Linear(config.patch**2 * (TRAITS + 1), e, bias=False)
        self.carried_down = nn.Linear(e, e, bias=False)
        self.damage = nn.Linear(e, 1)
        for layer in (self.carried_down, self.backed):
            nn.init.zeros_(layer.weight)
        for table in (self.from_row, self.from_column):
            nn.init.normal_(table.weight, std=0.5)

    def carry(self, traits: Tensor, motion: Tensor) -> Tensor:
        """Moves the tiles' traits (A, patches, 16, k) by motions (A, 2) of tiles: (A, patches, 16, k + 1)."""
        A, P, tiles, k = traits.shape
        place = torch.arange(P, device=traits.device).repeat(A)
        patch, inner, inside = moved_from(self.config, place, motion.repeat_interleave(P, 0))
        first = torch.arange(A, device=traits.device).repeat_interleave(P)[:, None] * P
        came = traits.reshape(-1, k).index_select(0, ((first + patch) * tiles + inner).flatten()).view(A, P, tiles, k)
        here = inside.view(A, P, tiles, 1).to(traits.dtype)
        return torch.cat([came * here, here], -1)

    def heat_maps(self, pointer: Tensor, before: Tensor) -> Tensor:
        """Draws the pointer as images: two blobs where it is, one where it was.

        Args:
            pointer: column and row in tiles, (A, 2).
            before: the same before the event.

        Returns:
            (A, patch rows, patch columns, 3 * 16), values in [0, 1].
        """
        c = self.config
        maps = []
        for at, spread in ((pointer, _HEAT[0]), (pointer, _HEAT[1]), (before, _HEAT[0])):
            x = torch.arange(c.tile_columns, device=at.device) - at[:, :1]
            y = torch.arange(c.tile_rows, device=at.device) - at[:, 1:]
            across, along = (torch.exp(-z.square() / (2 * spread**2)) for z in (x, y))
            blob = along[:, :, None] * across[:, None]
            blob = blob.view(-1, c.patch_rows, c.patch, c.patch_columns, c.patch).transpose(2, 3)
            maps.append(blob.flatten(3))
        return torch.cat(maps, -1)

    def forward(
        self, patches: Tensor, backed: Tensor, h: Tensor, pointer: Tensor, before: Tensor, motion: Tensor,
        windows: Tensor,
    ) -> Scouted:  # fmt: skip
        """Looks at A framebuffers.

        Args:
            patches: the framebuffer, encoded (A, patches, e).
            backed: the same as the windows' backing stores show it.
            h: (A, d).
            pointer: column and row after the event, (A, 2) tiles.
            before: the same before it.
            motion: of a part of the screen, (A, 2) rows and columns of tiles.
            windows: the window tables after the events, (A, K, FIELDS).
        """
        c, own = self.config, norm(patches)
        own = (own + self.backed(norm(backed) - own)).unflatten(1, (c.patch_rows, -1))
        x = torch.cat([own, self.heat_maps(pointer, before).to(h.dtype)], -1)
        x = F.pad(x, (0, 0, 0, self.columns * _BLOCK - c.patch_columns, 0, self.rows * _BLOCK - c.patch_rows))
        x = x.unflatten(2, (self.columns, _BLOCK)).unflatten(1, (self.rows, _BLOCK)).transpose(2, 3).flatten(3)
        at = pointer // c.patch
        row = torch.arange(self.rows, device=h.device) * _BLOCK - at[:, 1:] + c.patch_rows - 1
        column = torch.arange(self.columns, device=h.device) * _BLOCK - at[:, :1] + c.patch_columns - 1
        x = self.block_in(x) + self.place + self.memory(h)[:, None, None]
        x = x + self.from_row(row)[:, :, None] + self.from_column(column)[:, None]
        for block in self.blocks:
            x = block(x)
        x = norm(x)
        told = self.block_out(x).unflatten(-1, (_BLOCK, _BLOCK, -1)).transpose(2, 3).flatten(3, 4).flatten(1, 2)
        y = own + told[:, : c.patch_rows, : c.patch_columns]
        middles = middle_of(c, torch.arange(c.num_patches, device=h.device))
        y = y + self.inside(windows[:, None], middles).view_as(y)
        y = (y + self.down(F.gelu(self.up(mix_patches(norm(y))), approximate="tanh"))).flatten(1, 2)
        traits = self.traits(norm(y)).unflatten(-1, (-1, TRAITS))
        carried = self.carry(traits, motion)
        y = y + self.carried_down(F.gelu(self.carried_up(carried.flatten(2)), approximate="tanh"))
        return Scouted(x.flatten(1, 2), norm(y), traits, carried)
