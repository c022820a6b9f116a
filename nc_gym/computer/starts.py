"""Starts: the runtime states from which a task's episodes begin, typed into the neural computer once and then copied.

A start is a recorded boot and events typed after it; the computer shows its own output for them, as it does for any
event. Starts are typed in fixed blocks, each with its own noise stream, so the state behind a start does not depend on
which episode asked for it first. A block costs one batched step per event when it is first needed, and a copy later.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nc_gym.computer.computer import NeuralComputer
from nc_gym.computer.state import RuntimeState

BLOCK = 16  # starts that are typed in one batch
Event = int | tuple[int, ...]


class Starts:
    """The starts of one task on one computer; machines share them.

    What is kept of a start with 60 events is about 1 MB with the shipped network.

    Args:
        computer: the neural computer.
        starts: per start the index of its boot and its events; may be empty of events, but not of starts.
    """

    def __init__(self, computer: NeuralComputer, starts: Sequence[tuple[int, Sequence[Event]]]) -> None:
        self._computer = computer
        self._boots = torch.tensor([boot for boot, _ in starts])
        self._events = [list(events) for _, events in starts]
        self._typed: dict[int, RuntimeState] = {}

    @torch.inference_mode()
    def states(self, numbers: Tensor, seeds: Tensor) -> RuntimeState:
        """Returns rows that stand at the starts ``numbers`` (A,), with the noise streams ``seeds`` (A,), both int64.

        Raises:
            ValueError: a number is none of a start.
        """
        bad = [n for n in numbers.tolist() if not 0 <= n < len(self._events)]
        if bad:
            raise ValueError(f"start {bad[0]} does not exist; choose 0 to {len(self._events) - 1}")
        state = self._computer.boot(seeds, self._boots[numbers])
        for block in {n // BLOCK for n in numbers.tolist() if self._events[n]}:
            rows = torch.nonzero(numbers // BLOCK == block)[:, 0]
            chosen = self._block(block).select((numbers[rows] % BLOCK).to(self._computer.device))
            self._computer.restore(state, numbers // BLOCK == block, chosen)
        state.seeds[:] = seeds.to(state.seeds.device)
        return state

    def _block(self, block: int) -> RuntimeState:
        """Types the starts of a block, once."""
        if block not in self._typed:
            numbers = torch.arange(block * BLOCK, min((block + 1) * BLOCK, len(self._events)))
            state = self._computer.boot(numbers, self._boots[numbers])
            queues = [self._events[n] for n in numbers.tolist()]
            longest = max(queues, key=len)  # lends its events to rows that are done and do not step
            for turn in range(len(longest)):
                events = torch.tensor([queue[turn] if turn < len(queue) else longest[turn] for queue in queues])
                self._computer.step(state, events, torch.tensor([turn < len(queue) for queue in queues]))
            self._typed[block] = self._computer.snapshot(state)
        return self._typed[block]
