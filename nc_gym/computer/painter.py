"""Scout and painter of a computer with a pointer: from h_t and the framebuffer to the damage, and to new patches.

The scout looks at every patch of the framebuffer, with the pointer as a heat map, and names those that change. The
painter says of every tile of those where it comes from: it stays, it moves with a part of the screen, it shows again
what stood there earlier, or it is drawn, which means denoised from pure noise by the renderer. The likelihood of a tile
is the sum over the sources that show it (a pointer-generator, See et al. 2017), so nothing has to say which is right.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nc_gym.computer.config import NeuralComputerConfig
from nc_gym.computer.event_log import norm
from nc_gym.computer.patch_geometry import AROUND, rank_in_event

KEEP, MOVE, EARLIER, OTHER_EARLIER, DRAW = range(5)
SOURCES = 5
RECALLS = 2  # earlier states that one patch may mix
_HEAT = (1.0, 6.0)  # widths of the pointer's heat maps, in tiles
_BLOCK = 2  # patches along a side of what the scout looks at as a whole
_HEADS, _HEAD_DIM = 4, 32
_RECALL_DIM = 32
_AGES = 12  # powers of two of the events since a version was drawn


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
    q, k, v = (x.unflatten(-1, (_HEADS, _HEAD_DIM)).transpose(-3, -2) for x in (q, k, v))
    weight = (norm(q) @ norm(k).transpose(-2, -1) * (4 * _HEAD_DIM**-0.5)).softmax(-1)
    return (weight @ v).transpose(-3, -2).flatten(-2)


class ScoutBlock(nn.Module):
    """Attention among all blocks of patches and an MLP, both on blocks mixed with their neighbours."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * _HEADS * _HEAD_DIM, bias=False)
        self.out = nn.Linear(_HEADS * _HEAD_DIM, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.down.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Maps x (A, R, C, w) to the same shape."""
        q, k, v = self.qkv(mix_patches(norm(x))).flatten(1, 2).chunk(3, -1)
        x = x + self.out(attention(q, k, v)).view_as(x)
        return x + self.down(F.gelu(self.up(mix_patches(norm(x))), approximate="tanh"))


class PatchScout(nn.Module):
    """Looks at the whole framebuffer, in blocks of 2x2 patches: features and damage of every patch."""

    def __init__(self, config: NeuralComputerConfig) -> None:
        super().__init__()
        self.config = config
        w, e = config.scout_width, config.patch_width
        self.rows, self.columns = -(-config.patch_rows // _BLOCK), -(-config.patch_columns // _BLOCK)
        heat = (len(_HEAT) + 1) * config.patch**2
        self.block_in = nn.Linear(_BLOCK**2 * (e + heat), w, bias=False)
        self.memory = nn.Linear(config.width, w, bias=False)
        self.place = nn.Parameter(torch.randn(self.rows, self.columns, w) * 0.5)
        self.from_row = nn.Embedding(2 * config.patch_rows - 1, w)
        self.from_column = nn.Embedding(2 * config.patch_columns - 1, w)
        self.blocks = nn.ModuleList(ScoutBlock(w) for _ in range(config.scout_layers))
        self.block_out = nn.Linear(w, _BLOCK**2 * e, bias=False)
        self.up = nn.Linear(e, 2 * e, bias=False)
        self.down = nn.Linear(2 * e, e, bias=False)
        self.damage = nn.Linear(e, 1)
        for table in (self.from_row, self.from_column):
            nn.init.normal_(table.weight, std=0.5)

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

    def forward(self, patches: Tensor, h: Tensor, pointer: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Looks at A framebuffers.

        Args:
            patches: the framebuffer, encoded (A, patches, e).
            h: (A, d).
            pointer: column and row after the event, (A, 2) tiles.
            before: the same before it.

        Returns:
            features of the blocks (A, blocks, w), and of the patches (A, patches, e).
        """
        c, own = self.config, norm(patches).unflatten(1, (self.config.patch_rows, -1))
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
        y = y + self.down(F.gelu(self.up(mix_patches(norm(y))), approximate="tanh"))
        return x.flatten(1, 2), norm(y).flatten(1, 2)


@dataclass
class Canvas:
    """What the painter works on: P damaged patches of A events, sorted by event."""

    event: Tensor  # (P,) which event
    place: Tensor  # (P,) which patch
    moved: Tensor  # (P, e) encoded: what a motion brings there
    versions: Tensor  # (P, V, e) encoded: what stood there earlier, newest first
    age: Tensor  # (P, V) events since each version was drawn; -1 where there is none


@dataclass
class Paint:
    """What the painter says about P patches."""

    source: Tensor  # (P, 16, SOURCES) logits
    recall: Tensor  # (P, RECALLS, V) logits over the versions
    state: Tensor  # (P, d), the renderer's condition


class PainterBlock(nn.Module):
    """A look at the framebuffer, a look at the patch's own past, and an MLP."""

    def __init__(self, config: NeuralComputerConfig) -> None:
        super().__init__()
        d, w, e, inner = config.width, config.scout_width, config.patch_width, _HEADS * _HEAD_DIM
        self.query = nn.Linear(d, inner, bias=False)
        self.qkv = nn.Linear(w, 2 * inner, bias=False)  # keys and values only
        self.out = nn.Linear(inner, d, bias=False)
        self.past = nn.Linear(d, _RECALL_DIM, bias=False)
        self.past_out = nn.Linear(e, d, bias=False)
        self.up = nn.Linear(d, 4 * d, bias=False)
        self.down = nn.Linear(4 * d, d, bias=False)
        for layer in (self.out, self.past_out, self.down):
            nn.init.zeros_(layer.weight)

    def forward(self, x: Tensor, blocks: Tensor, rank: Tensor, key: Tensor, canvas: Canvas, none: Tensor) -> Tensor:
        """Maps x (P, d) to the same shape.

        Args:
            x: the patches.
            blocks: the scout's features (A, blocks, w).
            rank: which of its event's patches each is, (P,).
            key: keys of the versions (P, V, _RECALL_DIM).
            canvas: their contents.
            none: (P, V), -inf where there is no version.
        """
        q = self.query(norm(x))
        padded = q.new_zeros(len(blocks), int(rank.max()) + 1, q.shape[1])
        padded = padded.index_put((canvas.event, rank), q)
        k, v = self.qkv(blocks).chunk(2, -1)
        x = x + self.out(attention(padded, k, v)[canvas.event, rank])
        weight = torch.einsum("pd,pvd->pv", self.past(norm(x)), key) + none
        x = x + self.past_out(torch.einsum("pv,pvw->pw", weight.softmax(-1), canvas.versions))
        return x + self.down(F.gelu(self.up(norm(x)), approximate="tanh"))


class Painter(nn.Module):
    """Says where every tile of the damaged patches comes from."""

    def __init__(self, config: NeuralComputerConfig) -> None:
        super().__init__()
        self.config = config
        d, e = config.width, config.patch_width
        self.scouted = nn.Linear(e, d, bias=False)
        self.moved = nn.Linear(e, d, bias=False)
        self.memory = nn.Linear(d, d, bias=False)
        self.version_key = nn.Linear(e, _RECALL_DIM, bias=False)
        self.age = nn.Embedding(_AGES, _RECALL_DIM)
        self.order = nn.Parameter(torch.randn(config.versions, _RECALL_DIM) * 0.5)
        self.blocks = nn.ModuleList(PainterBlock(config) for _ in range(config.painter_layers))
        self.recall = nn.Linear(d, RECALLS * _RECALL_DIM, bias=False)
        self.source = nn.Linear(d, config.patch**2 * SOURCES)

    def forward(self, blocks: Tensor, patches: Tensor, h: Tensor, canvas: Canvas) -> Paint:
        """Reads the sources off the scout's features and h (A, d); there must be at least one patch.

        Args:
            blocks: (A, blocks, w).
            patches: (A, patches, e).
            h: (A, d).
            canvas: what to paint.
        """
        x = self.scouted(patches[canvas.event, canvas.place]) + self.moved(canvas.moved)
        x = x + self.memory(h)[canvas.event]
        rank, _ = rank_in_event(canvas.event, len(h))
        bucket = (canvas.age.clamp(min=0) + 1).float().log2().long().clamp(max=_AGES - 1)
        key = self.version_key(canvas.versions) + self.age(bucket) + self.order
        none = torch.zeros_like(canvas.age, dtype=x.dtype).masked_fill(canvas.age < 0, -1e4)
        for block in self.blocks:
            x = block(x, blocks, rank, key, canvas, none)
        x = norm(x)
        query = self.recall(x).unflatten(-1, (RECALLS, _RECALL_DIM))
        recall = torch.einsum("prd,pvd->prv", query, key) + none[:, None]
        return Paint(self.source(x).unflatten(-1, (-1, SOURCES)), recall, x)


class TileLook(nn.Module):
    """Tells the slot of a tile that is drawn what stands around it now, where the pointer is, and what h_t says.

    A patch's state knows which letter comes; which part of it a tile is depends on where the tile lies in the line, and
    which part of a menu on where it lies from the pointer. So *what* is drawn and *where* multiply: a sum of both would
    need a hidden unit for each letter's each part.
    """

    def __init__(self, config: NeuralComputerConfig) -> None:
        super().__init__()
        w, seen = config.renderer_width, AROUND[0] * AROUND[1] * config.latent_dim
        _, _, buttons, keys = config.event_sizes
        self.rows, self.columns = config.tile_rows, config.tile_columns
        self.up = nn.Linear(w + config.width + seen, 4 * w, bias=False)
        self.down = nn.Linear(4 * w, w, bias=False)
        self.told = nn.Linear(w + config.width, 2 * w, bias=False)
        self.key, self.button = nn.Embedding(keys, 2 * w), nn.Embedding(buttons, 2 * w)
        self.seen = nn.Linear(seen, 2 * w, bias=False)
        self.below = nn.Embedding(2 * config.tile_rows - 1, 2 * w)
        self.beyond = nn.Embedding(2 * config.tile_columns - 1, 2 * w)
        self.out = nn.Linear(2 * w, w, bias=False)
        for table in (self.key, self.button, self.below, self.beyond):
            nn.init.normal_(table.weight, std=0.5)
        for layer in (self.down, self.out):
            nn.init.zeros_(layer.weight)

    def forward(self, slot: Tensor, h: Tensor, around: Tensor, event: Tensor, row: Tensor, column: Tensor) -> Tensor:
        """Maps slots (Q, w) to the same shape.

        Args:
            slot: what the patches' states say of the tiles.
            h: (Q, d).
            around: latents (Q, 27, d_z).
            event: (Q, 4), the pointer's column and row in tiles, button event, key.
            row: of the tiles, (Q,).
            column: (Q,).
        """
        seen, told = around.flatten(1).to(slot.dtype), torch.cat([slot, h], -1)
        below, beyond = row - event[:, 1] + self.rows - 1, column - event[:, 0] + self.columns - 1
        what = self.told(told) + self.button(event[:, 2]) + self.key(event[:, 3])
        where = self.seen(seen) + self.below(below) + self.beyond(beyond)
        added = self.down(F.gelu(self.up(torch.cat([told, seen], -1)), approximate="tanh"))
        return norm(slot + added + self.out(norm(what) * norm(where)))
