"""The runtime state of N neural computers: screens, framebuffers and memories, copyable row by row."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nc_gym.computer.backing_store import empty_store
from nc_gym.computer.config import NeuralComputerConfig
from nc_gym.computer.memory import LogMemory
from nc_gym.computer.window_table import FIELDS

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass
class RuntimeState:
    """What every kind of row is made of; ``select`` copies rows out, ``assign`` copies rows in.

    Attributes:
        codes: int64 (N, tiles), the framebuffer x_t, snapped.
        pixels: uint8 (N, H, W, 3), the same as pixels.
        seeds: int64 (N,), each row's noise stream.
        clock: int64 (N,), what was drawn since the boot, the counter of that stream.
        damage: float32 (N,), share of tiles denoised in the last step.
        memory: the event log's memory h_t.
    """

    codes: Tensor
    pixels: Tensor
    seeds: Tensor
    clock: Tensor
    damage: Tensor
    memory: LogMemory

    def __len__(self) -> int:
        return len(self.codes)

    def select(self, rows: Tensor) -> Self:
        """Returns an independent copy of the rows numbered ``rows`` (A,); a number may repeat."""
        return self._copy(rows, self.memory.select(rows))

    def fork(self, row: int, n: int) -> Self:
        """Returns n independent copies of one row, whose memories share one past until they are written."""
        return self._copy(torch.full((n,), row, device=self.codes.device), self.memory.fork(row, n))

    def _copy(self, rows: Tensor, memory: LogMemory) -> Self:
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "memory"}
        # of whole rows index_select is the faster way
        return type(self)(**{name: tensor.index_select(0, rows) for name, tensor in values.items()}, memory=memory)

    def assign(self, rows: Tensor, other: RuntimeState) -> None:
        """Overwrites the rows numbered ``rows`` (A,), distinct, with the A rows of ``other``, of the same kind."""
        for f in fields(self):
            if f.name != "memory":
                getattr(self, f.name)[rows] = getattr(other, f.name)
        self.memory.assign(rows, other.memory)


def blank_rows(config: NeuralComputerConfig, rows: int, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """Returns the fields of ``RuntimeState`` of ``rows`` rows before any boot: a blank screen, an empty memory."""
    shape = (rows, config.screen_height, config.screen_width, 3)
    return {
        "codes": torch.zeros(rows, config.num_tiles, dtype=torch.int64, device=device),
        "pixels": torch.zeros(shape, dtype=torch.uint8, device=device),
        "seeds": torch.zeros(rows, dtype=torch.int64, device=device),
        "clock": torch.zeros(rows, dtype=torch.int64, device=device),
        "damage": torch.zeros(rows, dtype=torch.float32, device=device),
        "memory": LogMemory.empty(config, rows, device, dtype),
    }


@dataclass
class TokenState(RuntimeState):
    """Rows whose log reads what they draw; the last four are the log's next input.

    Attributes:
        focus: int64 (N,), tile row of the gaze.
        shift_in: int64 (N,), motion drawn by the last token.
        code_in: int64 (N, S).
        row_in: int64 (N, S).
        col_in: int64 (N, S).
    """

    focus: Tensor
    shift_in: Tensor
    code_in: Tensor
    row_in: Tensor
    col_in: Tensor

    @classmethod
    def blank(cls, config: NeuralComputerConfig, rows: int, device: torch.device, dtype: torch.dtype) -> TokenState:
        """Returns ``rows`` rows before any boot."""

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.int64, device=device)

        slots = rows, config.group
        return cls(
            **blank_rows(config, rows, device, dtype), focus=zeros(rows), shift_in=zeros(rows),
            code_in=zeros(*slots) + config.num_codes, row_in=zeros(*slots), col_in=zeros(*slots),
        )  # fmt: skip


@dataclass
class PatchState(RuntimeState):
    """Rows with a pointer; V is ``versions``.

    Attributes:
        pointer: int64 (N, 3), column and row in tiles, and image.
        versions: int16 (N, patches, V, 16), codes of each patch's earlier states, newest first.
        drawn_at: int64 (N, patches, 1 + V), number of the event that drew the present and each earlier state; -1 for
            the boot, -2 where there is none.
        events: int64 (N,), events since the boot.
        changes: (N, d), what the last event drew, the log's next input.
        windows: int64 (N, K, FIELDS), the window table (``window_table.py``), the log's next input as well.
        held: int64 (N, K, 4), the windows' boxes after the last event with a button, which may have taken hold of one.
        held_at: int64 (N, 3), where the pointer was then, column and row, and which button event it was.
        backing: int16 (N, K + 1, tiles), what each window and the ground last showed (``backing_store.py``).
    """

    pointer: Tensor
    versions: Tensor
    drawn_at: Tensor
    events: Tensor
    changes: Tensor
    windows: Tensor
    held: Tensor
    held_at: Tensor
    backing: Tensor

    @classmethod
    def blank(cls, config: NeuralComputerConfig, rows: int, device: torch.device, dtype: torch.dtype) -> PatchState:
        """Returns ``rows`` rows before any boot."""
        V, patches = config.versions, config.num_patches
        drawn_at = torch.full((rows, patches, 1 + V), -2, dtype=torch.int64, device=device)
        drawn_at[..., 0] = -1
        return cls(
            **blank_rows(config, rows, device, dtype),
            pointer=torch.zeros(rows, 3, dtype=torch.int64, device=device),
            versions=torch.zeros(rows, patches, V, config.patch**2, dtype=torch.int16, device=device),
            drawn_at=drawn_at,
            events=torch.zeros(rows, dtype=torch.int64, device=device),
            changes=torch.zeros(rows, config.width, dtype=dtype, device=device),
            windows=torch.zeros(rows, config.windows, len(FIELDS), dtype=torch.int64, device=device),
            held=torch.zeros(rows, config.windows, 4, dtype=torch.int64, device=device),
            held_at=torch.zeros(rows, 3, dtype=torch.int64, device=device),
            backing=empty_store(config, rows, device),
        )
