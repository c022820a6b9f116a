"""The runtime memory h_t of N rows: a ring of attention keys and values, and the last inputs of every layer.

Rows are opened for a block of tokens, written layer by layer, then advanced by as many tokens as were accepted: the
tokens of a block may be guesses (``TokenRuntime.step``). The ring's buffers start small and double until they hold
``memory_tokens`` and a block; from then on the oldest token of a row is overwritten, so the cost of a step stays flat.
Rows that were forked from one row read one copy of its past until the first of them is written.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nc_gym.computer.config import NeuralComputerConfig

_FIRST_CAPACITY = 256


def _enlarged(part: Tensor, capacity: int) -> Tensor:
    """Returns a copy of ``part`` (layers, N, kv, C, hd) with ``capacity`` slots, the new ones zero."""
    new = part.new_empty(*part.shape[:3], capacity, part.shape[4])
    new[..., : part.shape[3], :] = part
    new[..., part.shape[3] :, :] = 0
    return new


class LogMemory:
    """Keys, values and taps of N rows.

    Attributes:
        keys: (layers, N, kv, C, hd), rotated; C is the present capacity.
        values: (layers, N, kv, C, hd).
        taps: (layers, N, 2, d), the last two normed inputs of every layer, oldest first.
        length: int64 (N,), tokens ever written; token i of a row is at slot i mod ``ring``.
        limit: how many tokens a token attends to, itself included.
        ring: slots in all: ``limit``, and so many more that a block of guesses overwrites nothing still needed.
    """

    def __init__(self, keys: Tensor, values: Tensor, taps: Tensor, length: Tensor, limit: int, ring: int) -> None:
        self.keys, self.values, self.taps, self.length, self.limit, self.ring = keys, values, taps, length, limit, ring

    @classmethod
    def empty(cls, config: NeuralComputerConfig, rows: int, device: torch.device, dtype: torch.dtype) -> LogMemory:
        """Returns the memory of ``rows`` rows that have seen nothing."""
        hd = config.width // config.num_heads
        ring = config.memory_tokens + config.foresight
        shape = (config.num_layers, rows, config.num_kv_heads, min(_FIRST_CAPACITY, ring), hd)
        return cls(
            torch.zeros(shape, device=device, dtype=dtype),
            torch.zeros(shape, device=device, dtype=dtype),
            torch.zeros(config.num_layers, rows, 2, config.width, device=device, dtype=dtype),
            torch.zeros(rows, dtype=torch.int64, device=device),
            config.memory_tokens,
            ring,
        )

    def open(self, rows: Tensor, tokens: int) -> None:
        """Prepares a block of ``tokens`` (K) for each of ``rows`` (A,), distinct row numbers."""
        self.rows = rows
        self.everyone = len(rows) == len(self.length)
        length = self.length[rows]
        longest = int(length.max()) + tokens
        self.used = min(longest, self.ring)
        self._hold(self.used)
        self.position = length[:, None] + torch.arange(tokens, device=rows.device)  # (A, K)
        self.slots = self.position % self.ring
        self.mask = self._mask() if tokens > 1 or longest > self.limit or bool((length + 1 < longest).any()) else None
        self.inputs: list[Tensor] = []  # of each layer: two taps and the block, (A, 2 + K, d)
        self.opened_taps = self.taps[:, rows]

    def _mask(self) -> Tensor:
        """Returns which slots each token of the block may look at, bool (A, 1, 1, K, used)."""
        newest = self.position[:, -1:]
        held = newest - (newest - torch.arange(self.used, device=newest.device)) % self.ring  # (A, used), tokens
        held, position = held[:, None], self.position[..., None]
        return ((held >= 0) & (held <= position) & (held > position - self.limit))[:, None, None]

    def _hold(self, tokens: int) -> None:
        """Makes room for ``tokens`` in buffers that are no other row's."""
        present = self.keys.shape[3]
        if self.keys.stride(1) == 0:  # forked: one row, seen N times
            tokens = max(tokens, present + 1)  # cut to what it remembers, and about to go on
        elif tokens <= present:
            return
        capacity = min(max(_FIRST_CAPACITY, 1 << (tokens - 1).bit_length()), self.ring)
        self.keys = _enlarged(self.keys, capacity)
        self.values = _enlarged(self.values, capacity)

    def with_taps(self, layer: int, now: Tensor) -> Tensor:
        """Returns the inputs of the two tokens before the block and of the block ``now`` (A, K, d): (A, 2 + K, d)."""
        self.inputs.append(torch.cat([self.opened_taps[layer], now], 1))
        return self.inputs[-1]

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Writes k, v (A, kv, K, hd) and attends with q (A, H, K, hd) over what each may see; returns (A, H, K, hd)."""
        rows = self.rows[:, None]
        self.keys[layer, rows, :, self.slots] = k.transpose(1, 2)
        self.values[layer, rows, :, self.slots] = v.transpose(1, 2)
        keys, values = self.keys[layer, :, :, : self.used], self.values[layer, :, :, : self.used]
        if not self.everyone:
            keys, values = keys.index_select(0, self.rows), values.index_select(0, self.rows)
        groups = q.shape[1] // k.shape[1]  # the heads that share a key head act as that head's queries
        mask = None if self.mask is None else self.mask.expand(-1, -1, groups, -1, -1).flatten(2, 3)
        y = F.scaled_dot_product_attention(q.unflatten(1, (-1, groups)).flatten(2, 3), keys, values, attn_mask=mask)
        return y.view_as(q)

    def advance(self, accepted: Tensor) -> None:
        """Keeps the first ``accepted`` (A,) tokens of the block, at least one, and forgets the others."""
        self.length[self.rows] += accepted
        last = accepted[:, None] + torch.arange(2, device=accepted.device)  # (A, 2)
        inputs = torch.stack(self.inputs)  # (layers, A, 2 + K, d)
        self.taps[:, self.rows] = inputs[:, torch.arange(len(last), device=last.device)[:, None], last]

    def select(self, rows: Tensor) -> LogMemory:
        """Returns a copy of some rows, cut to what they use."""
        length = self.length[rows]
        used = min(max(length.tolist(), default=1) or 1, self.ring)
        # index_select over the second dimension takes twice as long
        keys, values = (part[:, rows, :, :used] for part in (self.keys, self.values))
        return LogMemory(keys, values, self.taps[:, rows], length, self.limit, self.ring)

    def fork(self, row: int, n: int) -> LogMemory:
        """Returns n rows that remember what ``row`` does; its keys and values are copied once, for all of them."""
        one = self.select(torch.tensor([row], device=self.length.device))
        keys, values = (part.expand(-1, n, -1, -1, -1) for part in (one.keys, one.values))
        return LogMemory(keys, values, one.taps.repeat(1, n, 1, 1), one.length.repeat(n), self.limit, self.ring)

    def assign(self, rows: Tensor, other: LogMemory) -> None:
        """Overwrites ``rows`` (A,) with the A rows of ``other``."""
        used = other.keys.shape[3]
        self._hold(used)
        self.keys[:, rows, :, :used] = other.keys
        self.values[:, rows, :, :used] = other.values
        self.taps[:, rows] = other.taps
        self.length[rows] = other.length
