"""The event log of a computer with a pointer: h_t = F(h_{t-1}, x_t, u_t), one token per event.

In: the event, how far the pointer moved, the tiles around its new place, and what the event before drew. Out: h_t (d).
The blocks and the memory are those of ``event_log.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nc_gym.computer.config import NeuralComputerConfig
from nc_gym.computer.event_log import Block, norm, rotary
from nc_gym.computer.memory import LogMemory
from nc_gym.computer.patch_geometry import NEAR, likeliest, rank_in_event
from nc_gym.computer.window_table import TableReader

DROPOUT = 0.1  # of what a layer adds, in training: it soon knows a few thousand sessions' windows by heart
_CODE_WIDTH = 16
_MOST_CHANGES = 24  # patches, evenly chosen, that tell the log what an event drew


@dataclass
class PointerTokens:
    """The log's input for M sequences (or rows) of T events; integers but for ``drawn``."""

    event: Tensor  # (M, T, 4) pointer column and row, button event, key
    moved: Tensor  # (M, T, 2) columns and rows since the event before
    since: Tensor  # (M, T, 2) columns and rows since the last event before it with a button
    last: Tensor  # (M, T) which button event that was, 0 for none: a button may still be down
    sprite: Tensor  # (M, T) image of the pointer before the event
    near: Tensor  # (M, T, NEAR * NEAR) codes around the pointer's new place, before the event
    windows: Tensor  # (M, T, K, FIELDS) the window table before the event
    drawn: Tensor  # (M, T, d) what the event before drew, of a ``ChangeEncoder``


class PatchEncoder(nn.Module):
    """Turns the 16 codes of a patch into one vector."""

    def __init__(self, config: NeuralComputerConfig) -> None:
        super().__init__()
        self.code = nn.Embedding(config.num_codes + 1, _CODE_WIDTH)
        self.read = nn.Linear(config.patch**2 * _CODE_WIDTH, config.patch_width, bias=False)
        nn.init.normal_(self.code.weight, std=0.5)

    def forward(self, codes: Tensor) -> Tensor:
        """Maps codes (..., 16) to (..., e)."""
        return self.read(self.code(codes).flatten(-2))


class ChangeEncoder(nn.Module):
    """Sums up what an event drew: its changed patches with their places."""

    def __init__(self, config: NeuralComputerConfig) -> None:
        super().__init__()
        self.width = config.width
        self.place = nn.Embedding(config.num_patches, config.patch_width)
        self.up = nn.Linear(config.patch_width, config.width, bias=False)
        self.down = nn.Linear(config.width, config.width, bias=False)
        nn.init.normal_(self.place.weight, std=0.5)

    def forward(self, patch: Tensor, place: Tensor, token: Tensor, tokens: int) -> Tensor:
        """Maps P changed patches to one vector per token.

        Args:
            patch: (P, e), the new states, encoded.
            place: (P,).
            token: (P,), which token each belongs to, ascending.
            tokens: how many there are.

        Returns:
            (tokens, d); 0 where nothing was drawn.
        """
        rank, count = rank_in_event(token, tokens)
        some = rank % (-(-count // _MOST_CHANGES)).clamp(min=1)[token] == 0
        patch, place, token = patch[some], place[some], token[some]
        each = self.down(F.gelu(self.up(norm(patch) + self.place(place)), approximate="tanh"))
        total = torch.zeros(tokens, self.width, device=patch.device).index_add(0, token, each.float())
        count = torch.zeros(tokens, device=patch.device).index_add(0, token, torch.ones_like(token).float())
        return (total * count.clamp(min=1).rsqrt()[:, None]).to(each.dtype)


class PointerLog(nn.Module):
    """The transformer. ``forward`` for whole sequences, ``step`` for the next event of rows with a memory."""

    def __init__(self, config: NeuralComputerConfig) -> None:
        super().__init__()
        self.config = config
        d = config.width
        columns, rows, buttons, keys = config.event_sizes
        self.column, self.row = nn.Embedding(columns, d), nn.Embedding(rows, d)
        self.button, self.key = nn.Embedding(buttons, d), nn.Embedding(keys, d)
        self.dx, self.dy = nn.Embedding(2 * columns - 1, d), nn.Embedding(2 * rows - 1, d)
        self.since_x, self.since_y = nn.Embedding(2 * columns - 1, d), nn.Embedding(2 * rows - 1, d)
        self.last = nn.Embedding(buttons, d)
        self.sprite = nn.Embedding(config.num_sprites, d)
        self.near = nn.Embedding(config.num_codes + 1, _CODE_WIDTH)
        self.look = nn.Linear(_CODE_WIDTH * NEAR**2, d, bias=False)
        self.windows = TableReader(config)
        self.blocks = nn.ModuleList(Block(config, looks=False) for _ in range(config.num_layers))
        places = self.column, self.row, self.dx, self.dy, self.since_x, self.since_y
        for table in (*places, self.button, self.last, self.key, self.sprite, self.near):
            nn.init.normal_(table.weight, std=0.5)
        for block in self.blocks:
            nn.init.zeros_(block.out.weight)  # type: ignore[union-attr, arg-type]  # a Block
            nn.init.zeros_(block.down.weight)  # type: ignore[union-attr, arg-type]

    def embed(self, t: PointerTokens) -> Tensor:
        """Returns the token embeddings (M, T, d)."""
        columns, rows, _, _ = self.config.event_sizes
        column, row, button, key = t.event.unbind(-1)
        x = self.column(column) + self.row(row) + self.button(button) + self.key(key) + self.sprite(t.sprite)
        x = x + self.dx(t.moved[..., 0] + columns - 1) + self.dy(t.moved[..., 1] + rows - 1)
        x = x + self.since_x(t.since[..., 0] + columns - 1) + self.since_y(t.since[..., 1] + rows - 1)
        x = x + self.last(t.last) + self.windows(t.windows, t.event[..., :2])
        return x + self.look(self.near(t.near).flatten(-2)) + t.drawn

    def forward(self, t: PointerTokens) -> Tensor:
        """Runs whole sequences: h (B, T, d) of tokens (B, T)."""
        x = self.embed(t)
        T, sharing = x.shape[1], self.config.num_heads // self.config.num_kv_heads
        cos, sin = rotary(torch.arange(T, device=x.device), self.config.width // self.config.num_heads // 2)
        mask = torch.full((T, T), -torch.inf, dtype=x.dtype, device=x.device).triu(1).repeat(sharing, 1)
        for block in self.blocks:
            after = block(x, cos, sin, None, mask)
            x = x + F.dropout(after - x, DROPOUT) if self.training else after
        return norm(x)

    def step(self, t: PointerTokens, memory: LogMemory) -> Tensor:
        """Runs the next event of each row that ``memory`` has opened for one token: h (A, d) of tokens (A, 1)."""
        cos, sin = rotary(memory.position, self.config.width // self.config.num_heads // 2)
        x = self.embed(t)
        for layer, block in enumerate(self.blocks):
            x = block.step(x, cos[:, None], sin[:, None], None, memory, layer)  # type: ignore[operator]  # a Block
        return norm(x)[:, 0]


@dataclass
class Outlook:
    """What h_t (M, d) says before any patch is looked at: logits."""

    changes: Tensor  # (M, 2) whether anything changes
    column: Tensor  # (M, columns) of the pointer
    row: Tensor  # (M, rows)
    sprite: Tensor  # (M, sprites)
    down: Tensor  # (M, 2 rows - 1) motion of a part of the screen
    right: Tensor  # (M, 2 columns - 1)
    damage: Tensor  # (M, patches), a training target only

    def motion(self) -> Tensor:
        """Returns the likeliest motion, rows and columns of tiles (M, 2)."""
        return likeliest(self.down, self.right)


class OutlookHead(nn.Module):
    """One linear reading of h_t; a part of the screen may, moreover, move as the pointer did.

    Each distance is a class of its own, and far ones are rare: by themselves they would be learned one by one. So h_t
    also says how much speaks for the distance that the pointer went (as a pointer-generator copies a rare word).
    """

    def __init__(self, config: NeuralComputerConfig) -> None:
        super().__init__()
        columns, rows, _, _ = config.event_sizes
        self.beyond = rows - 1, columns - 1
        self.sizes = [2, columns, rows, config.num_sprites, 2 * rows - 1, 2 * columns - 1, config.num_patches]
        self.read = nn.Linear(config.width, sum(self.sizes))
        self.follow = nn.Linear(config.width, 2)
        nn.init.zeros_(self.follow.weight)
        nn.init.zeros_(self.follow.bias)

    def forward(self, h: Tensor, moved: Tensor) -> Outlook:
        """Reads h (M, d) of events by which the pointer moved so many columns and rows, int64 (M, 2)."""
        outlook = Outlook(*self.read(h).split(self.sizes, -1))
        down, right = self.follow(h).split(1, -1)
        outlook.down = outlook.down.scatter_add(1, moved[:, 1:] + self.beyond[0], down)
        outlook.right = outlook.right.scatter_add(1, moved[:, :1] + self.beyond[1], right)
        return outlook


class Foresight(nn.Module):
    """Tells h of the event before which event comes, so that it may say what that one draws: a training target only.

    What takes long to work out, such as a sum, thus begins a token earlier, and has the layers of two.
    """

    def __init__(self, config: NeuralComputerConfig) -> None:
        super().__init__()
        _, _, buttons, keys = config.event_sizes
        self.button, self.key = nn.Embedding(buttons, config.width), nn.Embedding(keys, config.width)
        self.place = nn.Linear(config.width, config.width, bias=False)
        nn.init.zeros_(self.button.weight)
        nn.init.ones_(self.key.weight)
        nn.init.zeros_(self.place.weight)

    def forward(self, h: Tensor, events: Tensor, told: Tensor) -> Tensor:
        """Maps h (M, d) of the events before to the same shape.

        Args:
            h: 0 where there was none.
            events: those that come, (M, 4).
            told: where they point in which window, as the network is told, (M, d).
        """
        return h * (self.button(events[:, 2]) + self.key(events[:, 3]) + self.place(told))
