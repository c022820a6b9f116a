"""The painter of a computer with a pointer: from what the scout saw and h_t to new patches.

It says of every tile of the damaged patches where it comes from: it stays, it moves with a part of the screen, it shows
again what stood there earlier or what the window that it belongs to showed there, it echoes what stands elsewhere, or
it is drawn, which means denoised from pure noise. The likelihood of a tile is the sum over the sources that show it (a
pointer-generator, See et al. 2017), so nothing has to say which is right.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nc_gym.computer.config import NeuralComputerConfig
from nc_gym.computer.event_log import norm
from nc_gym.computer.patch_geometry import AROUND, middle_of, rank_in_event
from nc_gym.computer.patch_scout import HEAD_DIM, HEADS, TRAITS, Scouted, attention
from nc_gym.computer.window_table import WindowPlace

KEEP, MOVE, EARLIER, OTHER_EARLIER, DRAW, BACKED, ECHO = range(7)
SOURCES = 7
RECALLS = 2  # earlier states that one patch may mix
_RECALL_DIM = 32
_AGES = 12  # powers of two of the events since a version was drawn
_TILE_WIDTH = 64


def attention_in_event(q: Tensor, k: Tensor, v: Tensor, event: Tensor, rank: Tensor) -> Tensor:
    """Lets P patches attend each to its own event: q (P, H * hd) over k, v (A, K, H * hd) gives (P, H * hd).

    Args:
        q: queries of the patches.
        k: keys of what each event shows.
        v: values of the same.
        event: which event each patch belongs to, (P,).
        rank: which of its event's patches it is, (P,).
    """
    padded = q.new_zeros(len(k), int(rank.max()) + 1, q.shape[1]).index_put((event, rank), q)
    return attention(padded, k, v)[event, rank]


@dataclass
class Canvas:
    """What the painter works on: P damaged patches of A events, sorted by event."""

    event: Tensor  # (P,) which event
    place: Tensor  # (P,) which patch
    moved: Tensor  # (P, e) encoded: what a motion brings there
    backed: Tensor  # (P, e) encoded: what the windows' backing stores show there
    echoed: Tensor  # (P, e) encoded: what stands elsewhere and may be echoed there
    versions: Tensor  # (P, V, e) encoded: what stood there earlier, newest first
    age: Tensor  # (P, V) events since each version was drawn; -1 where there is none
    windows: Tensor  # (A, K, FIELDS) the window tables after the events


@dataclass
class Paint:
    """What the painter says about P patches."""

    source: Tensor  # (P, 16, SOURCES) logits
    recall: Tensor  # (P, RECALLS, V) logits over the versions
    state: Tensor  # (P, d), from which the denoiser reads the odds of codes


class PainterBlock(nn.Module):
    """A look at the framebuffer, a look at the patch's own past, and an MLP."""

    def __init__(self, config: NeuralComputerConfig) -> None:
        super().__init__()
        d, w, e, inner = config.width, config.scout_width, config.patch_width, HEADS * HEAD_DIM
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
        k, v = self.qkv(blocks).chunk(2, -1)
        x = x + self.out(attention_in_event(self.query(norm(x)), k, v, canvas.event, rank))
        weight = torch.einsum("pd,pvd->pv", self.past(norm(x)), key) + none
        x = x + self.past_out(torch.einsum("pv,pvw->pw", weight.softmax(-1), canvas.versions))
        return x + self.down(F.gelu(self.up(norm(x)), approximate="tanh"))


class PatchGaze(nn.Module):
    """A look at the framebuffer patch by patch, where the blocks of the scout are too coarse, as for text."""

    def __init__(self, config: NeuralComputerConfig) -> None:
        super().__init__()
        d, e, inner = config.width, config.patch_width, HEADS * HEAD_DIM
        self.query = nn.Linear(d, inner, bias=False)
        self.qkv = nn.Linear(e, 2 * inner, bias=False)  # keys and values only
        self.out = nn.Linear(inner, d, bias=False)
        self.from_place, self.to_place = (nn.Embedding(config.num_patches, inner) for _ in range(2))
        nn.init.zeros_(self.out.weight)
        for table in (self.from_place, self.to_place):
            nn.init.normal_(table.weight, std=0.5)

    def forward(self, x: Tensor, patches: Tensor, rank: Tensor, canvas: Canvas) -> Tensor:
        """Maps x (P, d) to the same shape, with the patches' features (A, patches, e) and ranks as in the blocks."""
        q = self.query(norm(x)) + self.from_place(canvas.place)
        k, v = self.qkv(patches).chunk(2, -1)
        return x + self.out(attention_in_event(q, k + self.to_place.weight, v, canvas.event, rank))


class Painter(nn.Module):
    """Says where every tile of the damaged patches comes from."""

    def __init__(self, config: NeuralComputerConfig) -> None:
        super().__init__()
        self.config = config
        d, e = config.width, config.patch_width
        self.scouted = nn.Linear(e, d, bias=False)
        self.moved = nn.Linear(e, d, bias=False)
        self.backed = nn.Linear(e, d, bias=False)
        self.echoed = nn.Linear(e, d, bias=False)
        self.memory = nn.Linear(d, d, bias=False)
        self.inside = WindowPlace(config, d)
        self.version_key = nn.Linear(e, _RECALL_DIM, bias=False)
        self.age = nn.Embedding(_AGES, _RECALL_DIM)
        self.order = nn.Parameter(torch.randn(config.versions, _RECALL_DIM) * 0.5)
        self.gaze = PatchGaze(config)
        self.blocks = nn.ModuleList(PainterBlock(config) for _ in range(config.painter_layers))
        self.recall = nn.Linear(d, RECALLS * _RECALL_DIM, bias=False)
        self.source = nn.Linear(d, config.patch**2 * SOURCES)
        self.tile_up = nn.Linear(2 * TRAITS + 1, _TILE_WIDTH)
        self.tile_source = nn.Linear(_TILE_WIDTH, SOURCES, bias=False)
        for layer in (self.tile_source, self.backed, self.echoed):
            nn.init.zeros_(layer.weight)

    def forward(self, scouted: Scouted, h: Tensor, canvas: Canvas) -> Paint:
        """Reads the sources off what the scout saw and h (A, d); there must be at least one patch."""
        event, place = canvas.event, canvas.place
        x = self.scouted(scouted.patches[event, place]) + self.moved(canvas.moved)
        x = x + self.backed(canvas.backed) + self.echoed(canvas.echoed) + self.memory(h)[event]
        x = x + self.inside(canvas.windows[event], middle_of(self.config, place))
        rank, _ = rank_in_event(event, len(h))
        x = self.gaze(x, scouted.patches, rank, canvas)
        bucket = (canvas.age.clamp(min=0) + 1).float().log2().long().clamp(max=_AGES - 1)
        key = self.version_key(canvas.versions) + self.age(bucket) + self.order
        none = torch.zeros_like(canvas.age, dtype=x.dtype).masked_fill(canvas.age < 0, -1e4)
        for block in self.blocks:
            x = block(x, scouted.blocks, rank, key, canvas, none)
        x = norm(x)
        of_tile = torch.cat([scouted.traits[event, place], scouted.carried[event, place]], -1)  # (P, 16, 2k + 1)
        by_tile = self.tile_source(F.gelu(self.tile_up(of_tile), approximate="tanh"))
        query = self.recall(x).unflatten(-1, (RECALLS, _RECALL_DIM))
        recall = torch.einsum("prd,pvd->prv", query, key) + none[:, None]
        return Paint(self.source(x).unflatten(-1, (-1, SOURCES)) + by_tile, recall, x)


class TileLook(nn.Module):
    """Tells the slot of a tile that is drawn what stands around it now, where it lies, and what h_t says.

    A patch's state knows which letter comes; which part of it a tile is depends on where the tile lies in its window,
    and which part of a menu on where it lies from the pointer. So *what* is drawn and *where* multiply: a sum of both
    would need a hidden unit for each letter's each part.
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
        self.inside = WindowPlace(config, 2 * w)
        self.below = nn.Embedding(2 * config.tile_rows - 1, 2 * w)
        self.beyond = nn.Embedding(2 * config.tile_columns - 1, 2 * w)
        self.out = nn.Linear(2 * w, w, bias=False)
        for table in (self.key, self.button, self.below, self.beyond):
            nn.init.normal_(table.weight, std=0.5)
        for layer in (self.down, self.out):
            nn.init.zeros_(layer.weight)

    def forward(
        self, slot: Tensor, h: Tensor, around: Tensor, events: Tensor, windows: Tensor, event: Tensor, row: Tensor,
        column: Tensor,
    ) -> Tensor:  # fmt: skip
        """Maps slots (Q, w) to the same shape.

        Args:
            slot: what the patches' states say of the tiles.
            h: (A, d).
            around: latents (Q, 27, d_z).
            events: (A, 4), the pointer's column and row in tiles, button event, key.
            windows: the window tables after them, (A, K, FIELDS).
            event: which of them each tile is drawn by, (Q,).
            row: of the tiles, (Q,).
            column: (Q,).
        """
        seen, event_of = around.flatten(1).to(slot.dtype), events[event]
        below, beyond = row - event_of[:, 1] + self.rows - 1, column - event_of[:, 0] + self.columns - 1
        what = self._read(self.told, slot, h, event) + self.button(event_of[:, 2]) + self.key(event_of[:, 3])
        where = self.seen(seen) + self.below(below) + self.beyond(beyond)
        where = where + self.inside(windows[event], torch.stack([column, row], -1))
        added = self.down(F.gelu(self._read(self.up, slot, h, event, seen), approximate="tanh"))
        return norm(slot + added + self.out(norm(what) * norm(where)))

    def _read(self, layer: nn.Linear, slot: Tensor, h: Tensor, event: Tensor, *more: Tensor) -> Tensor:
        """Applies ``layer`` to slot, h[event] and more side by side, but to each h only once."""
        of_slot, of_h, *of_more = layer.weight.split([part.shape[1] for part in (slot, h, *more)], 1)
        read = F.linear(slot, of_slot) + F.linear(h, of_h)[event]
        for part, weight in zip(more, of_more, strict=True):
            read = read + F.linear(part, weight)
        return read
