"""The event log: a causal transformer over what happened and what was drawn, h_t = F(h_{t-1}, x_t, u_t).

In: one token per event (and per further group of drawn tiles), holding the event u_t and the tiles that the token
before it drew, plus the gaze: the framebuffer rows around the last damage. Out: h_t (d) for every token. Training runs
whole sequences with a causal mask; acting runs a few tokens per row against a ring of keys and values, its memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nc_gym.computer.config import NeuralComputerConfig
from nc_gym.computer.memory import LogMemory


def norm(x: Tensor) -> Tensor:
    """Normalises the last dimension to mean 0 and variance 1."""
    return F.layer_norm(x, (x.shape[-1],))  # no affine: one fused kernel, also in bf16


def rotary(position: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Returns cos and sin (..., dim/2) of the rotary embedding (Su et al. 2021) at integer positions."""
    frequency = 1.0 / 10_000 ** (torch.arange(0, dim, 2, device=position.device).float() / dim)
    angle = position.float()[..., None] * frequency
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates the first half of each head's dimensions, leaving the rest free for lookup by content.

    Args:
        x: queries or keys (..., hd).
        cos: (..., hd/4), broadcastable to x's leading shape.
        sin: like cos.
    """
    half = x.shape[-1] // 4
    a, b, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    return torch.cat([a * cos - b * sin, a * sin + b * cos, rest], -1)


def mix_tokens(x: Tensor) -> Tensor:
    """Mixes each of T tokens with the two before it: x (B, 2 + T, d) to (B, T, d).

    Half of the channels are the token's own, a quarter each come from its predecessors: keys and values then know what
    preceded them, so copying from context needs one layer, not two.
    """
    d = x.shape[-1]
    return torch.cat([x[:, 2:, : d // 2], x[:, 1:-1, d // 2 : -d // 4], x[:, :-2, -d // 4 :]], -1)


def causal_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Attention by plain matrix products: on CPUs faster than torch's flash kernel for a few hundred tokens.

    Args:
        q: (B, H, T, hd).
        k: (B, kv, T, hd); H / kv successive heads share each.
        v: like k.
        mask: (H / kv * T, T), 0 where a query may look and -inf where it may not.

    Returns:
        (B, H, T, hd).
    """
    B, H, T, hd = q.shape
    grouped = q.reshape(-1, mask.shape[0], hd)  # (B kv, H / kv T, hd): heads that share keys are more queries
    weight = torch.baddbmm(mask, grouped, k.flatten(0, 1).transpose(1, 2), alpha=hd**-0.5).softmax(-1)
    return (weight @ v.flatten(0, 1)).view(B, H, T, hd)


class Gaze(NamedTuple):
    """What the log sees of the framebuffer, shared by all gaze layers; products are fastest with keys transposed."""

    key: Tensor  # (M, gd, W)
    value: Tensor  # (M, W, gd)

    def at(self, index: Tensor) -> Gaze:
        """Returns the entries ``index`` of the leading dimension."""
        return Gaze(self.key.index_select(0, index), self.value.index_select(0, index))


class GazeAttention(nn.Module):
    """Looks from the log at the framebuffer's gaze."""

    def __init__(self, config: NeuralComputerConfig) -> None:
        super().__init__()
        self.heads, self.dim = config.num_heads, config.gaze_dim
        self.query = nn.Linear(config.width, self.heads * self.dim, bias=False)
        self.gain = nn.Parameter(torch.full((self.heads, self.dim), 2.5))  # without it 80 tiles blur into one another
        self.out = nn.Linear(self.heads * self.dim, config.width, bias=False)

    def forward(self, x: Tensor, gaze: Gaze) -> Tensor:
        """Maps x (M, K, d), K tokens with the same gaze, to (M, K, d)."""
        q = norm(self.query(x).unflatten(-1, (self.heads, self.dim))) * self.gain  # heads share keys and values
        weight = (q.flatten(1, 2) @ gaze.key * self.dim**-0.5).softmax(-1)  # (M, K H, W)
        return self.out((weight @ gaze.value).view(*x.shape[:2], -1))


class GazeEncoder(nn.Module):
    """Turns gaze codes into keys and values: each tile with its left and right neighbour, and its place."""

    def __init__(self, config: NeuralComputerConfig) -> None:
        super().__init__()
        g, w = config.gaze_dim, config.gaze_rows * config.tile_columns
        self.code = nn.Embedding(config.num_codes + 1, g)
        self.project = nn.Linear(3 * g, 2 * g, bias=False)
        self.place = nn.Parameter(torch.randn(w, 2 * g) * 0.3)

    def forward(self, codes: Tensor) -> Gaze:
        """Maps codes (M, W) to keys and values."""
        e = F.pad(self.code(codes), (0, 0, 1, 1))
        near = torch.cat([e[:, :-2], e[:, 1:-1], e[:, 2:]], -1)
        key, value = (self.project(near) + self.place).chunk(2, -1)
        return Gaze(norm(key).transpose(1, 2).contiguous(), value.contiguous())


class Block(nn.Module):
    """Attention over the log, a look at the framebuffer in some layers, then an MLP."""

    def __init__(self, config: NeuralComputerConfig, looks: bool) -> None:
        super().__init__()
        d = config.width
        self.heads, self.kv, self.head_dim = config.num_heads, config.num_kv_heads, d // config.num_heads
        self.qkv = nn.Linear(d, (self.heads + 2 * self.kv) * self.head_dim, bias=False)
        self.gain = nn.Parameter(torch.full((self.heads + self.kv, 1, self.head_dim), 2**0.5))  # sharpness of lookups
        self.out = nn.Linear(d, d, bias=False)
        self.gaze = GazeAttention(config) if looks else None
        self.up = nn.Linear(d, 4 * d, bias=False)
        self.down = nn.Linear(4 * d, d, bias=False)

    def split(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Maps x (B, T, d) to rotated q (B, H, T, hd), rotated k and v (B, kv, T, hd)."""
        heads = self.qkv(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)  # (B, H + 2 kv, T, hd)
        qk, v = heads.split([self.heads + self.kv, self.kv], 1)
        q, k = rotate(norm(qk) * self.gain, cos, sin).split([self.heads, self.kv], 1)
        return q, k, v

    def mlp(self, x: Tensor) -> Tensor:
        """Maps x (..., d) to (..., d)."""
        return self.down(F.gelu(self.up(norm(x)), approximate="tanh"))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, gaze: Gaze, mask: Tensor) -> Tensor:
        """Whole sequences x (B, T, d); gaze is what each of the B T tokens sees, mask as in causal_attention."""
        q, k, v = self.split(mix_tokens(F.pad(norm(x), (0, 0, 2, 0))), cos, sin)
        y = causal_attention(q, k, v, mask)
        x = x + self.out(y.transpose(1, 2).flatten(2))
        if self.gaze is not None:
            x = x + self.gaze(norm(x).flatten(0, 1)[:, None], gaze).view_as(x)
        return x + self.mlp(x)

    def step(self, x: Tensor, cos: Tensor, sin: Tensor, gaze: Gaze, memory: LogMemory, layer: int) -> Tensor:
        """A block of tokens x (A, K, d) of each row that ``memory`` has opened."""
        q, k, v = self.split(mix_tokens(memory.with_taps(layer, norm(x))), cos, sin)
        y = memory.attend(layer, q, k, v)  # (A, H, K, hd)
        x = x + self.out(y.transpose(1, 2).flatten(2))
        if self.gaze is not None:
            x = x + self.gaze(norm(x), gaze)
        return x + self.mlp(x)


@dataclass
class LogTokens:
    """The event log's input for M sequences (or rows) of T tokens; integer tensors as in tokens.py."""

    event: Tensor  # (M, T)
    focus: Tensor  # (M, T)
    shift_in: Tensor  # (M, T)
    code_in: Tensor  # (M, T, S)
    row_in: Tensor  # (M, T, S)
    col_in: Tensor  # (M, T, S)


class EventLog(nn.Module):
    """The transformer. ``forward`` for whole sequences, ``step`` for the next tokens of rows with a memory."""

    def __init__(self, config: NeuralComputerConfig) -> None:
        super().__init__()
        self.config = config
        d, S, K = config.width, config.group, config.num_codes
        self.event = nn.Embedding(config.num_events + 1, d)
        self.focus = nn.Embedding(config.tile_rows, d)
        self.shift = nn.Embedding(config.tile_rows + 1, d)
        self.code = nn.Embedding(S * (K + 1), d)  # each slot of the group has its own table
        self.place = nn.Embedding(S * (config.tile_rows + config.tile_columns), d)
        self.gaze_encoder = GazeEncoder(config)
        blocks = [Block(config, i in config.gaze_layers) for i in range(config.num_layers)]
        self.blocks = nn.ModuleList(blocks)
        for table in (self.event, self.focus, self.shift, self.code, self.place, self.gaze_encoder.code):
            nn.init.normal_(table.weight, std=0.5)
        for block in blocks:
            nn.init.zeros_(block.out.weight)
            nn.init.zeros_(block.down.weight)
            if block.gaze is not None:
                nn.init.zeros_(block.gaze.out.weight)

    def embed(self, t: LogTokens) -> Tensor:
        """Returns the token embeddings (M, T, d)."""
        c = self.config
        slot = torch.arange(c.group, device=t.event.device)
        drawn = (t.code_in < c.num_codes)[..., None]
        row = t.row_in + slot * (c.tile_rows + c.tile_columns)
        col = t.col_in + slot * (c.tile_rows + c.tile_columns) + c.tile_rows
        tiles = self.code(t.code_in + slot * (c.num_codes + 1))
        tiles = tiles + torch.where(drawn, self.place(row) + self.place(col), 0.0)
        return self.event(t.event) + self.focus(t.focus) + self.shift(t.shift_in) + tiles.sum(-2)

    def forward(self, t: LogTokens, gaze: Tensor, index: Tensor) -> Tensor:
        """Runs whole sequences.

        Args:
            t: tokens (B, T).
            gaze: codes (B, E, W) before each event.
            index: (B, T) event of each token.

        Returns:
            h (B, T, d).
        """
        B, E = gaze.shape[:2]
        flat = (index + E * torch.arange(B, device=index.device)[:, None]).flatten()
        seen = self.gaze_encoder(gaze.flatten(0, 1)).at(flat)  # of the B T tokens
        head_dim = self.config.width // self.config.num_heads
        cos, sin = rotary(torch.arange(t.event.shape[1], device=flat.device), head_dim // 2)
        x = self.embed(t)
        T, sharing = t.event.shape[1], self.config.num_heads // self.config.num_kv_heads
        mask = torch.full((T, T), -torch.inf, dtype=x.dtype, device=x.device).triu(1).repeat(sharing, 1)
        for block in self.blocks:
            x = block(x, cos, sin, seen, mask)
        return norm(x)

    def step(self, t: LogTokens, gaze: Gaze, memory: LogMemory) -> Tensor:
        """Runs the next K tokens of each row that ``memory`` has opened; the memory must then be advanced.

        Args:
            t: tokens (A, K) of the A open rows.
            gaze: what ``gaze_encoder`` made of their gaze, one per row.
            memory: the runtime memory; keys, values and inputs of the open rows are written.

        Returns:
            h (A, K, d).
        """
        head_dim = self.config.width // self.config.num_heads
        cos, sin = rotary(memory.position, head_dim // 2)
        cos, sin = cos[:, None], sin[:, None]  # (A, 1, K, hd/4) against (A, H, K, hd)
        x = self.embed(t)
        for layer, block in enumerate(self.blocks):
            x = block.step(x, cos, sin, gaze, memory, layer)  # type: ignore[operator]  # a Block
        return norm(x)
