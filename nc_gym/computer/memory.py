"""The runtime memory h_t of N rows: a ring of attention keys and values, and the last inputs of every layer.

Rows are opened for a token, written layer by layer, then advanced. The ring's buffers start small and double until
they hold ``memory_tokens``; from then on the oldest token of a row is overwritten, so the cost of a step stays flat.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nc_gym.computer.config import NeuralComputerConfig

_FIRST_CAPACITY = 256


class LogMemory:
    """Keys, values and taps of N rows.

    Attributes:
        keys: (layers, N, kv, C, hd), rotated; C is the present capacity.
        values: (layers, N, kv, C, hd).
        taps: (layers, N, 2, d), the last two normed inputs of every layer, newest first.
        length: int64 (N,), tokens ever written; token i of a row is at slot i mod ``limit``.
    """

    def __init__(self, keys: Tensor, values: Tensor, taps: Tensor, length: Tensor, limit: int) -> None:
        self.keys, self.values, self.taps, self.length, self.limit = keys, values, taps, length, limit

    @classmethod
    def empty(cls, config: NeuralComputerConfig, rows: int, device: torch.device, dtype: torch.dtype) -> LogMemory:
        """Returns the memory of ``rows`` rows that have seen nothing."""
        hd = config.width // config.num_heads
        shape = (config.num_layers, rows, config.num_kv_heads, min(_FIRST_CAPACITY, config.memory_tokens), hd)
        return cls(
            torch.zeros(shape, device=device, dtype=dtype),
            torch.zeros(shape, device=device, dtype=dtype),
            torch.zeros(config.num_layers, rows, 2, config.width, device=device, dtype=dtype),
            torch.zeros(rows, dtype=torch.int64, device=device),
            config.memory_tokens,
        )

    def open(self, rows: Tensor) -> None:
        """Prepares one token for each of ``rows`` (A,), distinct row numbers."""
        self.rows = rows
        self.everyone = len(rows) == len(self.length)
        longest = int(self.length[rows].max()) + 1
        while longest > self.keys.shape[3] and self.keys.shape[3] < self.limit:
            self._grow(min(2 * self.keys.shape[3], self.limit))
        self.used = min(longest, self.limit)
        self.slots = self.length[rows] % self.limit
        filled = (self.length[rows] + 1).clamp(max=self.limit)  # (A,)
        if bool((filled == self.used).all()):
            self.mask: Tensor | None = None
        else:
            self.mask = (torch.arange(self.used, device=rows.device) < filled[:, None])[:, None, None]

    def _grow(self, capacity: int) -> None:
        extra = capacity - self.keys.shape[3]
        self.keys = F.pad(self.keys, (0, 0, 0, extra))
        self.values = F.pad(self.values, (0, 0, 0, extra))

    def positions(self) -> Tensor:
        """Returns the position (A,) of the token that is being written."""
        return self.length[self.rows]

    def push_taps(self, layer: int, now: Tensor) -> tuple[Tensor, Tensor]:
        """Stores ``now`` (A, d) and returns the inputs of the two tokens before it."""
        taps = self.taps[layer, self.rows]
        before, before_that = taps[:, 0], taps[:, 1]
        self.taps[layer, self.rows] = torch.stack([now, before], 1)
        return before, before_that

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Writes k, v (A, kv, hd) and attends with q (A, H, hd) over all that is remembered; returns (A, H, hd)."""
        self.keys[layer, self.rows, :, self.slots] = k
        self.values[layer, self.rows, :, self.slots] = v
        keys, values = self.keys[layer, :, :, : self.used], self.values[layer, :, :, : self.used]
        if not self.everyone:
            keys, values = keys[self.rows], values[self.rows]
        groups = q.shape[1] // k.shape[1]  # the heads that share a key head act as that head's queries
        q = q.unflatten(1, (-1, groups))  # (A, kv, groups, hd)
        return F.scaled_dot_product_attention(q, keys, values, attn_mask=self.mask).flatten(1, 2)

    def advance(self) -> None:
        """Counts the written token."""
        self.length[self.rows] += 1

    def select(self, rows: Tensor) -> LogMemory:
        """Returns a copy of some rows, cut to what they use."""
        length = self.length[rows]
        used = min(max(length.tolist(), default=1) or 1, self.limit)
        keys, values = self.keys[:, rows, :, :used], self.values[:, rows, :, :used]
        return LogMemory(keys, values, self.taps[:, rows], length, self.limit)

    def assign(self, rows: Tensor, other: LogMemory) -> None:
        """Overwrites ``rows`` (A,) with the A rows of ``other``."""
        used = other.keys.shape[3]
        if used > self.keys.shape[3]:
            self._grow(used)
        self.keys[:, rows, :, :used] = other.keys
        self.values[:, rows, :, :used] = other.values
        self.taps[:, rows] = other.taps
        self.length[rows] = other.length
