"""The neural computer: boots, takes events, denoises screens, and can be saved, copied and put back.

Data enters as one event per row and leaves as screens, uint8 (N, H, W, 3), on the computer's device. A step feeds the
event to the event log, lets the scout name the damage, denoises the damaged tiles in groups, snaps them to codes and
draws them; the drawn tiles are what the log reads next. Nothing here knows what the screen shows.

An event that draws much takes many tokens, each of which reads the one before. Its first token already foresees the
next tiles (``Foresight``), so the log reads several foreseen tokens in one pass and keeps those that turn out as
foreseen, and the one after: the same is drawn in fewer passes (speculative decoding, Leviathan et al. 2023).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor

from nc_gym.computer import weights
from nc_gym.computer.boots import BootBank
from nc_gym.computer.config import NeuralComputerConfig
from nc_gym.computer.event_log import LogTokens
from nc_gym.computer.network import Network
from nc_gym.computer.renderer import Damage
from nc_gym.computer.sampler import FlowSampler, row_noise
from nc_gym.computer.state import RuntimeState
from nc_gym.computer.tokens import TokenSession, focus_row

WeightsError = weights.WeightsError


@dataclass
class Drawing:
    """What K tokens of A rows draw; unused slots hold the code ``num_codes`` and place 0."""

    code: Tensor  # (A, K, S)
    row: Tensor  # (A, K, S)
    col: Tensor  # (A, K, S)
    count: Tensor  # (A, K), slots used
    more: Tensor  # bool (A, K), whether the event goes on drawing


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
        draft = self._no_draft(len(active))
        base = None  # the framebuffer after the motion and before any drawing
        for _ in range(c.num_tiles // c.group + 1):
            tokens = self._tokens(state, active, event, focus, draft)
            state.memory.open(active, tokens.event.shape[1])
            h = self.network.log.step(tokens, gaze, state.memory)  # (A, K, d)
            damage = self.network.scout(h)
            if base is None:  # only the token that brings the event moves the framebuffer
                shift = damage.shift[:, 0].argmax(-1)
                self._move(state, active, shift)
                base = state.codes[active]
            else:
                shift = torch.zeros_like(event)
            drawing = self._render(state, active, base, h, damage)
            accepted = self._accepted(drawing, draft)
            state.memory.advance(accepted)
            self._draw(state, active, shift, drawing, accepted)
            last = torch.arange(len(active), device=self.device), accepted - 1
            going = torch.nonzero(drawing.more[last])[:, 0]
            if not len(going):
                break
            active, focus, base, gaze, h = active[going], focus[going], base[going], gaze.at(going), h[last][going]
            event = torch.full_like(active, c.num_events)
            draft = self._foresee(state, active, h, event)

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
            tokens = LogTokens(**{f.name: at(f.name, t)[:, None] for f in fields(LogTokens)})
            state.memory.open(row, 1)
            self.network.log.step(tokens, self.network.log.gaze_encoder(gaze), state.memory)
            state.memory.advance(torch.ones_like(row))
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

    def _no_draft(self, rows: int) -> Drawing:
        """Returns what foresees nothing: K = 0."""
        none = torch.zeros(rows, 0, self.config.group, dtype=torch.int64, device=self.device)
        return Drawing(none, none, none, none[..., 0], none[..., 0].bool())

    def _foresee(self, state: RuntimeState, active: Tensor, h: Tensor, event: Tensor) -> Drawing:
        """Guesses what the next tokens draw: the codes that h (A, d) foresees, in raster order from the last place."""
        c = self.config
        codes = self.network.foresight.codes(self.network.foresight(h, event)).argmax(-1)  # (A, F S)
        place = state.row_in[active, -1] * c.tile_columns + state.col_in[active, -1]
        place = place[:, None] + torch.arange(1, codes.shape[1] + 1, device=self.device)
        place = place.clamp(max=c.num_tiles - 1)
        code, row, col = (
            x.unflatten(1, (-1, c.group)) for x in (codes, place // c.tile_columns, place % c.tile_columns)
        )
        count = torch.full_like(code[..., 0], c.group)
        return Drawing(code, row, col, count, count > 0)

    def _tokens(self, state: RuntimeState, active: Tensor, event: Tensor, focus: Tensor, draft: Drawing) -> LogTokens:
        """Returns the next token of each row and one for every token of the draft, (A, 1 + K)."""
        K = draft.count.shape[1]
        code, row, col = (
            torch.cat([drawn[active, None], guess], 1)
            for drawn, guess in ((state.code_in, draft.code), (state.row_in, draft.row), (state.col_in, draft.col))
        )
        further = torch.full((len(active), K), self.config.num_events, device=self.device)
        return LogTokens(
            event=torch.cat([event[:, None], further], 1),
            focus=focus[:, None].expand(-1, 1 + K),
            shift_in=torch.cat([state.shift_in[active, None], torch.zeros_like(further)], 1),
            code_in=code, row_in=row, col_in=col,
        )  # fmt: skip

    def _accepted(self, drawing: Drawing, draft: Drawing) -> Tensor:
        """Returns how many tokens (A,) of the block had right inputs: one more than were drawn as the draft says."""
        K = draft.count.shape[1]
        same = (drawing.code[:, :K] == draft.code) & (drawing.row[:, :K] == draft.row)
        same &= drawing.col[:, :K] == draft.col
        return 1 + (same.all(-1) & drawing.more[:, :K]).long().cumprod(1).sum(1)

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

    def _render(self, state: RuntimeState, active: Tensor, base: Tensor, h: Tensor, damage: Damage) -> Drawing:
        """Denoises the tiles of a block of tokens, h (A, K, d)."""
        c, renderer, codec = self.config, self.network.renderer, self.network.codec
        count = damage.count.argmax(-1)  # (A, K)
        drawn = torch.arange(c.group, device=self.device) < count[..., None]  # (A, K, S)
        row = torch.where(drawn, damage.row.argmax(-1), 0)
        col = torch.where(drawn, damage.col.argmax(-1), 0)
        code = torch.full_like(row, c.num_codes)
        at = a, k, s = torch.nonzero(drawn, as_tuple=True)
        if len(a):
            place = row[at] * c.tile_columns + col[at]
            near = place[:, None] + torch.arange(-1, 2, device=self.device)
            outside = (near < 0) | (near == c.num_tiles)
            old = torch.where(outside, 0, base[a[:, None], near.clamp(0, c.num_tiles - 1)])
            condition = renderer.condition(renderer.slot_state(h)[at], codec.code_latents[old], row[at], col[at])
            noise = row_noise(state.seeds[active[a]], (state.clock[active[a]] + k) * c.group + s, c.latent_dim)
            code[at] = codec.snap(self.sampler.sample(lambda z, level: renderer(z, level, condition).float(), noise))
        return Drawing(code, row, col, count, (damage.more.argmax(-1) == 1) & (count == c.group))

    def _draw(self, state: RuntimeState, active: Tensor, shift: Tensor, drawing: Drawing, accepted: Tensor) -> None:
        """Puts the tiles of the accepted tokens on the framebuffer and makes the last token the log's next input."""
        c, last = self.config, accepted - 1
        token = torch.arange(drawing.count.shape[1], device=self.device)
        drawn = drawing.code < c.num_codes
        pixels = state.pixels.view(-1, c.tile_rows, c.tile_height, c.tile_columns, c.tile_width, 3)
        earlier = token < last[:, None]  # as foreseen, at distinct places; the last token may draw over them
        for chosen in (earlier, token == last[:, None]) if len(token) > 1 else (token == last[:, None],):
            at = torch.nonzero(drawn & chosen[..., None], as_tuple=True)
            n, r, q, k = active[at[0]], drawing.row[at], drawing.col[at], drawing.code[at]
            state.codes[n, r * c.tile_columns + q] = k
            pixels[n, r, :, q] = self.network.codec.prototypes[k]
        everyone = torch.arange(len(active), device=self.device)
        state.shift_in[active], state.code_in[active] = shift, drawing.code[everyone, last]
        state.row_in[active], state.col_in[active] = drawing.row[everyone, last], drawing.col[everyone, last]
        count = torch.where(token <= last[:, None], drawing.count, 0)  # (A, K)
        final = torch.where(count > 0, token, -1).amax(1)  # the last that drew; -1 if none did
        end = final.clamp(min=0)
        focus = drawing.row[everyone, end, (count[everyone, end] - 1).clamp(min=0)]
        state.focus[active] = torch.where(final >= 0, focus, state.focus[active])
        state.clock[active] += accepted
        state.damage[active] += count.sum(1) / c.num_tiles
