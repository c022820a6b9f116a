"""The boot bank: short recordings that a neural computer replays into its memory to start from.

Boot b is a first screen, a list of events and the screen after each of them, all as codes. ``boots.safetensors`` holds
``codes`` int16 (frames, tiles), ``events`` int16 (events,) and ``starts`` int64 (B + 1,): boot b has the events
``starts[b]:starts[b+1]`` and one frame more than events. On a computer with a pointer boots have no events, and
``pointers`` int16 (B, 3) says where the pointer is.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from nc_gym.computer.codec import TileCodec
from nc_gym.computer.config import NeuralComputerConfig
from nc_gym.computer.tokens import TokenSession, tokenize


class BootBank:
    """B recorded boots.

    Args:
        codes: int16 (frames, tiles).
        events: int16 (events,).
        starts: int64 (B + 1,).
        pointers: column and row in tiles, and image, int16 (B, 3); (0, 3) on a computer without a pointer.
    """

    def __init__(self, codes: Tensor, events: Tensor, starts: Tensor, pointers: Tensor | None = None) -> None:
        self.codes, self.events, self.starts = codes, events, starts
        self.pointers = torch.zeros(0, 3, dtype=torch.int16) if pointers is None else pointers

    @classmethod
    def record(cls, codec: TileCodec, boots: list[tuple[list[int], Tensor]]) -> BootBank:
        """Makes a bank from events and screens uint8 (events + 1, H, W, 3) of each boot."""
        codes = [codec.encode(screens).to(torch.int16) for _, screens in boots]
        events = [torch.tensor(e, dtype=torch.int16) for e, _ in boots]
        starts = torch.tensor([0, *np.cumsum([len(e) for e in events])], dtype=torch.int64)
        return cls(torch.cat(codes), torch.cat(events), starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def tensors(self) -> dict[str, Tensor]:
        """Returns what ``boots.safetensors`` holds."""
        tensors = {"codes": self.codes, "events": self.events, "starts": self.starts}
        return tensors | {"pointers": self.pointers} if len(self.pointers) else tensors

    def first_codes(self, boot: int) -> Tensor:
        """Returns the boot's first framebuffer, int64 (tiles,)."""
        return self.codes[int(self.starts[boot]) + boot].long()

    def session(self, boot: int, config: NeuralComputerConfig) -> tuple[TokenSession | None, Tensor, Tensor]:
        """Returns the boot's tokens (None without events), its first and its last framebuffer (tiles,)."""
        lo, hi = int(self.starts[boot]), int(self.starts[boot + 1])
        frames = self.codes[lo + boot : hi + boot + 1].long().numpy()
        if lo == hi:
            return None, torch.from_numpy(frames[0]), torch.from_numpy(frames[0])
        changes = [np.flatnonzero(a != b) for a, b in pairwise(frames)]
        session = tokenize(
            frames[0], self.events[lo:hi].long().numpy(), np.cumsum([0, *map(len, changes)]),
            np.concatenate(changes), np.concatenate([frames[i + 1][p] for i, p in enumerate(changes)]),
            columns=config.tile_columns, num_codes=config.num_codes, num_events=config.num_events, group=config.group,
            gaze_rows=config.gaze_rows,
        )  # fmt: skip
        return session, torch.from_numpy(frames[0]), torch.from_numpy(frames[-1])
