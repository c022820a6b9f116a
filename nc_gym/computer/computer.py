"""The neural computer: boots, takes events, denoises screens, and can be saved, copied and put back.

Data enters as one event per row and leaves as screens, uint8 (N, H, W, 3), on the computer's device. How a step draws
is the runtime's: ``token_runtime.py`` for screens that are written, ``patch_runtime.py`` for screens with a pointer.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from nc_gym.computer import weights
from nc_gym.computer.boots import BootBank
from nc_gym.computer.config import NeuralComputerConfig
from nc_gym.computer.network import Network
from nc_gym.computer.patch_network import PatchNetwork
from nc_gym.computer.patch_runtime import PatchRuntime
from nc_gym.computer.precision import running_dtype
from nc_gym.computer.sampler import FlowSampler
from nc_gym.computer.state import RuntimeState
from nc_gym.computer.token_runtime import TokenRuntime

WeightsError = weights.WeightsError


class NeuralComputer:
    """A trained network that is a running computer.

    Args:
        network: the trained network.
        bank: the recorded boots.
        device: where tensors live.
        dtype: of the network's activations; that of ``precision.running_dtype`` unless told.
        denoise_steps: flow steps per tile; the configuration's if None.
    """

    def __init__(
        self, network: Network | PatchNetwork, bank: BootBank, device: str = "auto", dtype: torch.dtype | None = None,
        denoise_steps: int | None = None,
    ) -> None:  # fmt: skip
        self.device = weights.choose_device(device)
        self.dtype = dtype or running_dtype(self.device, paints_patches=bool(network.config.event_sizes))
        self.network = network.to(self.device, self.dtype).eval().requires_grad_(False)
        self.network.codec.float()
        self.bank = bank
        self.config: NeuralComputerConfig = network.config
        self.sampler = FlowSampler(self.config.denoise_steps if denoise_steps is None else denoise_steps)
        runtime = PatchRuntime if self.config.event_sizes else TokenRuntime
        self._runtime = runtime(self.network, bank, self.sampler, self.dtype)  # type: ignore[arg-type]  # fits config
        self._booted: dict[int, RuntimeState] = {}

    @classmethod
    def from_pretrained(
        cls, path: str | Path, device: str = "auto", dtype: torch.dtype | None = None, denoise_steps: int | None = None
    ) -> NeuralComputer:
        """Loads a weights folder (config.json, model.safetensors, boots.safetensors), strictly.

        Raises:
            WeightsError: the folder is missing, incomplete, corrupt, or does not fit its configuration.
        """
        network, bank = weights.load(Path(path))
        return cls(network, bank, device, dtype, denoise_steps)

    def save_pretrained(self, path: str | Path) -> None:
        """Writes a weights folder: config.json, bf16 model.safetensors, boots.safetensors."""
        weights.save(Path(path), self.network, self.bank)

    @torch.inference_mode()
    def boot(self, seeds: Tensor, boots: Tensor | None = None) -> RuntimeState:
        """Returns freshly booted rows.

        Args:
            seeds: int64 (N,), each row's noise stream.
            boots: int64 (N,), index into the boot bank; boot 0 for all rows if None.
        """
        boots = torch.zeros(len(seeds), dtype=torch.int64) if boots is None else boots
        state = self._runtime.empty(len(seeds))
        for boot in boots.unique().tolist():
            rows = torch.nonzero(boots.to(self.device) == boot)[:, 0]
            template = self._boot_template(boot)
            state.assign(rows, template.select(torch.zeros_like(rows)))
        state.seeds[:] = seeds.to(self.device)
        return state

    @torch.inference_mode()
    def step(self, state: RuntimeState, events: Tensor, rows: Tensor | None = None) -> None:
        """Sends one event to each row and denoises its next screen, in place.

        Args:
            state: N rows.
            events: int64 (N,), each in [0, num_events); (N, 4) for a computer with a pointer, within ``event_sizes``.
            rows: bool (N,), which rows step; all if None.
        """
        rows = torch.ones(len(state), dtype=torch.bool) if rows is None else rows
        active = torch.nonzero(rows.to(self.device))[:, 0]
        if len(active):
            state.damage[active] = 0.0
            self._runtime.step(state, events.to(self.device)[active], active)  # type: ignore[arg-type]  # its own state

    def screens(self, state: RuntimeState) -> Tensor:
        """Returns a copy of the screens, uint8 (N, H, W, 3)."""
        return self._runtime.screens(state)  # type: ignore[arg-type]  # its own state

    @torch.inference_mode()
    def latents(self, state: RuntimeState) -> Tensor:
        """Returns the latents, float32 (N, tiles, d_z), of the screens as they are seen: a pointer is part of them."""
        if self.config.event_sizes:
            return self.encode(self.screens(state))
        return self.network.codec.code_latents[state.codes]

    @torch.inference_mode()
    def encode(self, screens: Tensor) -> Tensor:
        """Returns the latents, float32 (N, tiles, d_z), of any screens uint8 (N, H, W, 3)."""
        codec = self.network.codec
        return codec.code_latents[codec.encode(screens.to(self.device))]

    @torch.inference_mode()
    def snapshot(self, state: RuntimeState, rows: Tensor | None = None) -> RuntimeState:
        """Returns an independent copy of the rows where ``rows`` (N,) is true, or of all."""
        rows = torch.ones(len(state), dtype=torch.bool) if rows is None else rows
        return state.select(torch.nonzero(rows.to(self.device))[:, 0])

    @torch.inference_mode()
    def restore(self, state: RuntimeState, rows: Tensor, snapshot: RuntimeState) -> None:
        """Puts a snapshot of as many rows back where ``rows`` (N,) is true, in place."""
        target = torch.nonzero(rows.to(self.device))[:, 0]
        if len(target) != len(snapshot):
            raise ValueError(f"{len(target)} rows chosen for a snapshot of {len(snapshot)}; choose equally many")
        state.assign(target, snapshot)

    @torch.inference_mode()
    def fork(self, state: RuntimeState, row: int, n: int) -> RuntimeState:
        """Returns n independent rows that all continue from ``row``, memory and noise stream included."""
        if not 0 <= row < len(state):
            raise ValueError(f"row {row} of {len(state)}; choose one in [0, {len(state)})")
        return state.fork(row, n)

    def _boot_template(self, boot: int) -> RuntimeState:
        """Boots one row, once."""
        if not 0 <= boot < len(self.bank):
            held = len(self.bank)
            raise ValueError(f"boot {boot}; these weights hold {held} boots: choose one in [0, {held})")
        if boot not in self._booted:
            self._booted[boot] = self._runtime.boot(boot)
        return self._booted[boot]
