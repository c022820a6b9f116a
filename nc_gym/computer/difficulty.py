"""Which kinds of events a network still paints wrongly, so that training draws those more often.

In: the loss of every painted event of a step. Out: a weight for every event of a session. A kind is a button event, a
key and how much the event changes; nothing here knows what any of them means.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nc_gym.computer.config import NeuralComputerConfig

_SIZES = 8  # powers of two of the patches that an event changes
_FORGET = 0.998  # of what is known, at every step
_PRIOR = 4.0  # events of mean loss that every kind begins with
_LEAST, _MOST = 0.4, 4.0  # weight of an event, against that of one with mean loss


class Difficulty:
    """The running mean loss of every kind of event.

    Args:
        config: its ``event_sizes`` say how many button events and keys there are.
    """

    def __init__(self, config: NeuralComputerConfig) -> None:
        _, _, buttons, self._keys = config.event_sizes
        self._total = np.zeros(buttons * self._keys * _SIZES)
        self._count = np.zeros_like(self._total)

    def kinds(self, events: NDArray[np.int64], changes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Returns the kind (T,) of events (T, 4) that change so many patches (T,)."""
        size = np.log2(changes + 1).astype(np.int64).clip(max=_SIZES - 1)
        return (events[:, 2] * self._keys + events[:, 3]) * _SIZES + size

    def note(self, kinds: NDArray[np.int64], losses: NDArray[np.float32]) -> None:
        """Remembers the losses (A,) of painted events of some kinds (A,)."""
        self._total *= _FORGET
        self._count *= _FORGET
        np.add.at(self._total, kinds, losses)
        np.add.at(self._count, kinds, 1.0)

    def weights(self, kinds: NDArray[np.int64]) -> NDArray[np.float64]:
        """Returns how often events of some kinds (T,) are to be drawn, 1 for one that is as hard as the mean."""
        known = self._count.sum()
        if not known:
            return np.ones(len(kinds))
        mean = self._total.sum() / known
        each = (self._total[kinds] + _PRIOR * mean) / (self._count[kinds] + _PRIOR)
        return (each / mean).clip(_LEAST, _MOST)
