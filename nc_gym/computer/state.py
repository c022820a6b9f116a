"""The runtime state of N neural computers: screens, framebuffers and memories, copyable row by row."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from nc_gym.computer.config import NeuralComputerConfig
from nc_gym.computer.memory import LogMemory


@dataclass
class RuntimeState:
    """Everything that N rows are; ``select`` copies rows out, ``assign`` copies rows in.

    Attributes:
        codes: int64 (N, tiles), the framebuffer x_t, snapped.
        pixels: uint8 (N, H, W, 3), the same as pixels.
        focus: int64 (N,), tile row of the gaze.
        shift_in: int64 (N,), motion drawn by the last token; with the next three, the log's next input.
        code_in: int64 (N, S).
        row_in: int64 (N, S).
        col_in: int64 (N, S).
        seeds: int64 (N,), each row's noise stream.
        clock: int64 (N,), tokens drawn since the boot, the counter of that stream.
        damage: float32 (N,), share of tiles denoised in the last step.
        memory: the event log's memory h_t.
    """

    codes: Tensor
    pixels: Tensor
    focus: Tensor
    shift_in: Tensor
    code_in: Tensor
    row_in: Tensor
    col_in: Tensor
    seeds: Tensor
    clock: Tensor
    damage: Tensor
    memory: LogMemory

    @classmethod
    def empty(cls, config: NeuralComputerConfig, rows: int, device: torch.device, dtype: torch.dtype) -> RuntimeState:
        """Returns the state of ``rows`` rows before any boot: a blank screen, an empty memory."""

        def zeros(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        return cls(
            codes=zeros(rows, config.num_tiles),
            pixels=zeros(rows, config.screen_height, config.screen_width, 3, dtype=torch.uint8),
            focus=zeros(rows),
            shift_in=zeros(rows),
            code_in=zeros(rows, config.group) + config.num_codes,
            row_in=zeros(rows, config.group),
            col_in=zeros(rows, config.group),
            seeds=zeros(rows),
            clock=zeros(rows),
            damage=zeros(rows, dtype=torch.float32),
            memory=LogMemory.empty(config, rows, device, dtype),
        )

    def __len__(self) -> int:
        return len(self.codes)

    def select(self, rows: Tensor) -> RuntimeState:
        """Returns an independent copy of the rows numbered ``rows`` (A,); a number may repeat."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        memory = values.pop("memory").select(rows)
        return RuntimeState(**{name: tensor[rows] for name, tensor in values.items()}, memory=memory)

    def assign(self, rows: Tensor, other: RuntimeState) -> None:
        """Overwrites the rows numbered ``rows`` (A,), distinct, with the A rows of ``other``."""
        for f in fields(self):
            if f.name != "memory":
                getattr(self, f.name)[rows] = getattr(other, f.name)
        self.memory.assign(rows, other.memory)
