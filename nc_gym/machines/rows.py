"""What the real machines have in common: rows of computers that boot, are restarted when they are lost, and end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Event = TypeVar("Event")
Rows = TypeVar("Rows", bound="RealRows")
_BOOT_TRIES = 3


class RealRows(ABC, Generic[Event]):
    """N real computers, each with boots that are replayed into it when it is fresh.

    The computers end with the thread that started them (in ``reset``, or in a ``step`` that restarts one): use a
    machine from one thread. ``close`` or ``with`` ends them earlier.

    Args:
        num_rows: how many computers.
        boots: per boot the events that are replayed into a fresh computer.
    """

    def __init__(self, num_rows: int, boots: Sequence[Sequence[Event]]) -> None:
        self.num_rows = num_rows
        self._boots = [list(boot) for boot in boots]
        self._busy = [0.0] * num_rows
        self._restarted = np.zeros(num_rows, np.bool_)

    @abstractmethod
    def _start(self, rows: Sequence[int]) -> None:
        """Starts fresh computers and waits until they have settled."""

    @abstractmethod
    def _send(self, events: Mapping[int, Event]) -> None:
        """Sends one event per row and waits for the settled screens."""

    @abstractmethod
    def close(self) -> None:
        """Kills all computers; safe to call twice."""

    def reset(self, rows: NDArray[np.bool_], seeds: NDArray[np.int64], boots: NDArray[np.int64]) -> None:
        """Gives the chosen rows (N,) a fresh computer and replays their boots (N,); no seed is used.

        Raises:
            RuntimeError: a computer died or hung in its boot, three times.
        """
        chosen = [int(row) for row in np.flatnonzero(rows)]
        for row in chosen:
            if not 0 <= boots[row] < len(self._boots):
                raise ValueError(f"boot {boots[row]} of row {row} does not exist; choose 0 to {len(self._boots) - 1}")
        for _ in range(_BOOT_TRIES):
            self._restarted[chosen] = False
            self._start(chosen)
            queues = {row: list(reversed(self._boots[boots[row]])) for row in chosen}
            while queues := {row: queue for row, queue in queues.items() if queue}:
                self._send({row: queue.pop() for row, queue in queues.items()})
            chosen = [row for row in chosen if self._restarted[row]]  # half a boot went to a fresh computer
            if not chosen:
                return
        raise RuntimeError(
            f"the computers of rows {chosen} died or hung in their boots {_BOOT_TRIES} times; check the events of "
            f"boots {[int(boots[row]) for row in chosen]}, or give the host more memory"
        )

    def restarted(self) -> NDArray[np.bool_]:
        """Tells which computers were lost (they died, hung, or lost a program) and restarted in the last step, (N,)."""
        return self._restarted.copy()

    def __enter__(self: Rows) -> Rows:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
