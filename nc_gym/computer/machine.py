"""A neural computer behind the machine protocol: numpy in, numpy out, N rows in one state."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from nc_gym.computer.computer import NeuralComputer
from nc_gym.computer.starts import Starts
from nc_gym.computer.state import RuntimeState


class NeuralMachine:
    """N rows of one neural computer.

    Args:
        computer: the neural computer; several machines may share it.
        num_rows: N.
        state: N booted rows to go on from; if None, every row must be reset first.
        starts: what ``reset`` begins from; if None, the boots of the computer's bank.
    """

    def __init__(
        self,
        computer: NeuralComputer,
        num_rows: int = 1,
        state: RuntimeState | None = None,
        starts: Starts | None = None,
    ) -> None:
        c = computer.config
        self.computer = computer
        self.num_rows = num_rows if state is None else len(state)
        self.screen_shape = (c.screen_height, c.screen_width, 3)
        zeros = torch.zeros(num_rows, dtype=torch.int64)
        self.state = computer.boot(zeros, zeros) if state is None else state
        self._starts = starts or Starts(computer, [(boot, ()) for boot in range(len(computer.bank))])

    def reset(self, rows: NDArray[np.bool_], seeds: NDArray[np.int64], boots: NDArray[np.int64]) -> None:
        """Boots the rows where ``rows`` (N,) is true; see ``Machine.reset``. ``boots`` are indices into the starts."""
        chosen = torch.from_numpy(np.asarray(rows, bool))
        if chosen.any():
            fresh = self._starts.states(torch.from_numpy(boots[rows]), torch.from_numpy(seeds[rows]))
            self.computer.restore(self.state, chosen, fresh)

    def step(self, events: NDArray[np.int64], rows: NDArray[np.bool_]) -> None:
        """Sends one event to each row where ``rows`` (N,) is true."""
        chosen = torch.from_numpy(np.asarray(rows, bool))
        self.computer.step(self.state, torch.from_numpy(np.asarray(events)).long(), chosen)

    def screens(self) -> NDArray[np.uint8]:
        """Returns a fresh copy of all screens, uint8 (N, H, W, 3)."""
        return self.computer.screens(self.state).cpu().numpy()

    def latents(self) -> NDArray[np.float32]:
        """Returns the framebuffers' latents, float32 (N, tiles, d_z)."""
        return self.computer.latents(self.state).cpu().numpy()

    def damage(self) -> NDArray[np.float32]:
        """Returns the share of tiles that the last step denoised, float32 (N,)."""
        return self.state.damage.cpu().numpy().copy()

    def snapshot(self, rows: NDArray[np.bool_]) -> RuntimeState:
        """Returns an independent copy of the rows where ``rows`` (N,) is true."""
        return self.computer.snapshot(self.state, torch.from_numpy(np.asarray(rows, bool)))

    def restore(self, rows: NDArray[np.bool_], state: RuntimeState) -> None:
        """Puts a snapshot back into the rows where ``rows`` (N,) is true."""
        self.computer.restore(self.state, torch.from_numpy(np.asarray(rows, bool)), state)

    def fork(self, row: int, n: int) -> NeuralMachine:
        """Returns a machine of n rows that all continue from ``row``."""
        return NeuralMachine(self.computer, n, self.computer.fork(self.state, row, n), self._starts)

    def close(self) -> None:
        """Does nothing: tensors are freed with the machine."""
