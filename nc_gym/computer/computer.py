"""The neural computer: boots, takes events, denoises screens, and can be saved, copied and put back.

Data enters as one event per row and leaves as screens, uint8 (N, H, W, 3), on the computer's device. A step feeds the
event to the event log, lets the scout name the damage, denoises the damaged tiles in groups, snaps them to codes and
draws them; the drawn tiles are what the log reads next. Nothing here knows what the screen shows.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import torch
from torch import Tensor

from nc_gym.computer import weights
from nc_gym.computer.boots import BootBank
from nc_gym.computer.config import NeuralComputerConfig
from nc_gym.computer.event_log import Gaze, LogTokens
from nc_gym.computer.network import Network
from nc_gym.computer.sampler import FlowSampler, row_noise
from nc_gym.computer.state import RuntimeState
from nc_gym.computer.tokens import TokenSession, focus_row

WeightsError = weights.WeightsError
Drawing = tuple[Tensor, Tensor, Tensor]  # codes (A, S), rows (A, S), columns (A, S)


class NeuralComputer:
    """A trained network that is a running computer.

    Args:
        network: the trained network.
        bank: the recorded boots.
        device: where tensors live.
        dtype: of the network's activations; float32 on CPUs unless told.
        denoise_steps: flow steps per tile; the configuration's if None.
    """

    def __init__(
        self, network: Network, bank: BootBank, device: str = "auto", dtype: torch.dtype | None = None,
        denoise_steps: int | None = None,
    ) -> None:  # fmt: skip
        self.device = weights.choose_device(device)
        self.dtype = dtype or (torch.float32 if self.device.type == "cpu" else torch.bfloat16)
        self.network = network.to(self.device, self.dtype).eval().requires_grad_(False)
        self.network.codec.float()
        self.bank = bank
        self.config: NeuralComputerConfig = network.config
        self.sampler = FlowSampler(self.config.denoise_steps if denoise_steps is None else denoise_steps)
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
    def boot(self, seeds: Tensor, boots: Tensor) -> RuntimeState:
        """Returns freshly booted rows.

        Args:
            seeds: int64 (N,), each row's noise stream.
            boots: int64 (N,), index into the boot bank.
        """
        state = RuntimeState.empty(self.config, len(seeds), self.device, self.dtype)
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
            events: int64 (N,), each in [0, num_events).
            rows: bool (N,), which rows step; all if None.
        """
        c = self.config
        rows = torch.ones(len(state), dtype=torch.bool) if rows is None else rows
        active = torch.nonzero(rows.to(self.device))[:, 0]
        if not len(active):
            return
        state.damage[active] = 0.0
        focus = state.focus[active].clone()
        gaze = self.network.log.gaze_encoder(self._gaze(state, active, focus))
        event = events.to(self.device)[active]
        base = None  # the framebuffer after the motion and before any drawing
        for _ in range(c.num_tiles // c.group + 1):
            tokens = LogTokens(event, focus, state.shift_in[active], state.code_in[active], state.row_in[active],
                               state.col_in[active])  # fmt: skip
            h = self._read(state, active, tokens, gaze)
            damage = self.network.scout(h)
            if base is None:  # only the token that brings the event moves the framebuffer
                shift = damage.shift.argmax(-1)
                self._move(state, active, shift)
                base = state.codes[active]
            else:
                shift = torch.zeros_like(event)
            count = damage.count.argmax(-1)
            drawing = self._render(state, active, base, h, count, damage.row.argmax(-1), damage.col.argmax(-1))
            self._draw(state, active, shift, drawing, count)
            going = torch.nonzero((damage.more.argmax(-1) == 1) & (count == c.group))[:, 0]
            if not len(going):
                break
            active, focus, base, gaze = active[going], focus[going], base[going], gaze.at(going)
            event = torch.full_like(active, c.num_events)

    def screens(self, state: RuntimeState) -> Tensor:
        """Returns a copy of the screens, uint8 (N, H, W, 3)."""
        return state.pixels.clone()

    @torch.inference_mode()
    def latents(self, state: RuntimeState) -> Tensor:
        """Returns the framebuffer's latents, float32 (N, tiles, d_z)."""
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
        return state.select(torch.full((n,), row, device=self.device))

    def _boot_template(self, boot: int) -> RuntimeState:
        """Replays a recorded boot into a state of one row, once."""
        if not 0 <= boot < len(self.bank):
            held = len(self.bank)
            raise ValueError(f"boot {boot}; these weights hold {held} boots: choose one in [0, {held})")
        if boot not in self._booted:
            state = RuntimeState.empty(self.config, 1, self.device, self.dtype)
            session, first, last = self.bank.session(boot, self.config)
            state.focus[:] = focus_row(first.view(-1, self.config.tile_columns).numpy())
            if session is not None:
                self._replay(state, session)
            state.codes[:] = last.to(self.device)
            state.pixels[:] = self.network.codec.screens(state.codes)
            self._booted[boot] = state
        return self._booted[boot]

    def _replay(self, state: RuntimeState, session: TokenSession) -> None:
        """Feeds recorded tokens to the log of a one-row state; ends as if the computer had drawn them itself."""

        def at(name: str, t: int) -> Tensor:
            return torch.from_numpy(getattr(session, name)[t : t + 1]).long().to(self.device)

        row = torch.zeros(1, dtype=torch.int64, device=self.device)
        for t in range(len(session)):
            gaze = torch.from_numpy(session.gaze[int(session.index[t])][None]).long().to(self.device)
            tokens = LogTokens(**{f.name: at(f.name, t) for f in fields(LogTokens)})
            self._read(state, row, tokens, self.network.log.gaze_encoder(gaze))
            state.shift_in, state.code_in = at("shift", t), at("code", t)
            state.row_in, state.col_in = at("row", t), at("col", t)
            if session.count[t]:
                state.focus[:] = int(session.row[t, session.count[t] - 1])
            else:
                state.focus[:] = max(0, int(state.focus) - int(session.shift[t]))

    def _gaze(self, state: RuntimeState, active: Tensor, focus: Tensor) -> Tensor:
        """Returns the codes (A, gaze_rows * columns) of the tile rows ending at ``focus``; code 0 above the screen."""
        c = self.config
        screen = state.codes[active].unflatten(1, (c.tile_rows, c.tile_columns))
        row = focus[:, None] + torch.arange(1 - c.gaze_rows, 1, device=self.device)  # (A, gaze_rows)
        seen = screen.gather(1, row.clamp(min=0)[..., None].expand(-1, -1, c.tile_columns))
        return torch.where((row < 0)[..., None], 0, seen).flatten(1)

    def _read(self, state: RuntimeState, active: Tensor, tokens: LogTokens, gaze: Gaze) -> Tensor:
        """Gives the log one token of each active row; returns h (A, d)."""
        state.memory.open(active)
        one = {f.name: getattr(tokens, f.name)[:, None] for f in fields(tokens)}  # (A, 1) or (A, 1, S)
        return self.network.log.step(LogTokens(**one), gaze, state.memory)

    def _move(self, state: RuntimeState, active: Tensor, shift: Tensor) -> None:
        """Scrolls the framebuffer of the rows whose motion is not zero; code 0, the background, comes in below."""
        c = self.config
        background = self.network.codec.prototypes[0]  # (h, w, 3)
        for row, k in zip(active.tolist(), shift.tolist(), strict=True):
            if k:
                codes = state.codes[row].view(c.tile_rows, c.tile_columns)
                codes[: c.tile_rows - k] = codes[k:].clone()
                codes[c.tile_rows - k :] = 0
                pixels = state.pixels[row].view(c.tile_rows, c.tile_height, c.tile_columns, c.tile_width, 3)
                pixels[: c.tile_rows - k] = pixels[k:].clone()
                pixels[c.tile_rows - k :] = background[:, None]
                state.focus[row] = max(0, int(state.focus[row]) - k)

    def _render(
        self, state: RuntimeState, active: Tensor, base: Tensor, h: Tensor, count: Tensor, row: Tensor, col: Tensor
    ) -> Drawing:
        """Denoises the tiles of this token; unused slots hold the code ``num_codes`` and place 0."""
        c, renderer, codec = self.config, self.network.renderer, self.network.codec
        slot = torch.arange(c.group, device=self.device)
        drawn = slot < count[:, None]  # (A, S)
        row, col = torch.where(drawn, row, 0), torch.where(drawn, col, 0)
        code = torch.full_like(row, c.num_codes)
        a, s = torch.nonzero(drawn, as_tuple=True)
        if len(a):
            place = row[a, s] * c.tile_columns + col[a, s]
            near = place[:, None] + torch.arange(-1, 2, device=self.device)
            outside = (near < 0) | (near == c.num_tiles)
            old = torch.where(outside, 0, base[a[:, None], near.clamp(0, c.num_tiles - 1)])
            condition = renderer.condition(renderer.slot_state(h)[a, s], codec.code_latents[old], row[a, s], col[a, s])
            noise = row_noise(state.seeds[active[a]], state.clock[active[a]] * c.group + s, c.latent_dim)
            code[a, s] = codec.snap(self.sampler.sample(lambda z, level: renderer(z, level, condition).float(), noise))
        return code, row, col

    def _draw(self, state: RuntimeState, active: Tensor, shift: Tensor, drawing: Drawing, count: Tensor) -> None:
        """Puts the denoised tiles on the framebuffer and makes them the log's next input."""
        c, (code, row, col) = self.config, drawing
        a, s = torch.nonzero(code < c.num_codes, as_tuple=True)
        r, q, k, n = row[a, s], col[a, s], code[a, s], active[a]
        state.codes[n, r * c.tile_columns + q] = k
        pixels = state.pixels.view(-1, c.tile_rows, c.tile_height, c.tile_columns, c.tile_width, 3)
        pixels[n, r, :, q] = self.network.codec.prototypes[k]
        state.shift_in[active], state.code_in[active] = shift, code
        state.row_in[active], state.col_in[active] = row, col
        last = row.gather(1, (count - 1).clamp(min=0)[:, None])[:, 0]
        state.focus[active] = torch.where(count > 0, last, state.focus[active])
        state.clock[active] += 1
        state.damage[active] += count / c.num_tiles
