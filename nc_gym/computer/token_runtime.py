"""A neural computer whose log reads what it draws: an event's damage is drawn tile after tile, as text is written.

A step feeds the event to the event log, lets the scout name the damage, denoises the damaged tiles in groups, snaps
them to codes and draws them; the drawn tiles are what the log reads next. Nothing here knows what the screen shows.

An event that draws much takes many tokens, each of which reads the one before. Its first token already foresees the
next tiles (``Foresight``), so the log reads several foreseen tokens in one pass and keeps those that turn out as
foreseen, and the one after: the same is drawn in fewer passes (speculative decoding, Leviathan et al. 2023).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from nc_gym.computer.boots import BootBank
from nc_gym.computer.event_log import LogTokens
from nc_gym.computer.network import Network
from nc_gym.computer.renderer import Damage
from nc_gym.computer.sampler import FlowSampler, row_noise
from nc_gym.computer.state import TokenState
from nc_gym.computer.tokens import TokenSession, focus_row


@dataclass
class Drawing:
    """What K tokens of A rows draw; unused slots hold the code ``num_codes`` and place 0."""

    code: Tensor  # (A, K, S)
    row: Tensor  # (A, K, S)
    col: Tensor  # (A, K, S)
    count: Tensor  # (A, K), slots used
    more: Tensor  # bool (A, K), whether the event goes on drawing


class TokenRuntime:
    """Boots and steps rows of a ``Network``.

    Args:
        network: the trained network, on its device.
        bank: the recorded boots.
        sampler: how tiles are denoised.
        dtype: of the network's activations.
    """

    def __init__(self, network: Network, bank: BootBank, sampler: FlowSampler, dtype: torch.dtype) -> None:
        self.network, self.bank, self.sampler, self.dtype = network, bank, sampler, dtype
        self.config = network.config
        self.device = network.codec.prototypes.device

    def empty(self, rows: int) -> TokenState:
        """Returns ``rows`` rows before any boot."""
        return TokenState.blank(self.config, rows, self.device, self.dtype)

    def boot(self, boot: int) -> TokenState:
        """Replays a recorded boot into a state of one row."""
        state = self.empty(1)
        session, first, last = self.bank.session(boot, self.config)
        state.focus[:] = focus_row(first.view(-1, self.config.tile_columns).numpy())
        if session is not None:
            self._replay(state, session)
        state.codes[:] = last.to(self.device)
        state.pixels[:] = self.network.codec.screens(state.codes)
        return state

    def screens(self, state: TokenState) -> Tensor:
        """Returns a copy of the screens, uint8 (N, H, W, 3)."""
        return state.pixels.clone()

    def step(self, state: TokenState, event: Tensor, active: Tensor) -> None:
        """Sends one event to each of the rows numbered ``active`` (A,) and denoises its next screen, in place.

        Args:
            state: N rows.
            event: int64 (A,), each in [0, num_events).
            active: int64 (A,), at least one.
        """
        c = self.config
        focus = state.focus[active].clone()
        gaze = self.network.log.gaze_encoder(self._gaze(state, active, focus))
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

    def _replay(self, state: TokenState, session: TokenSession) -> None:
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

    def _gaze(self, state: TokenState, active: Tensor, focus: Tensor) -> Tensor:
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

    def _foresee(self, state: TokenState, active: Tensor, h: Tensor, event: Tensor) -> Drawing:
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

    def _tokens(self, state: TokenState, active: Tensor, event: Tensor, focus: Tensor, draft: Drawing) -> LogTokens:
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

    def _move(self, state: TokenState, active: Tensor, shift: Tensor) -> None:
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

    def _render(self, state: TokenState, active: Tensor, base: Tensor, h: Tensor, damage: Damage) -> Drawing:
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
            code[at] = codec.snap(self.sampler.sample(renderer.at_level(condition), noise))
        return Drawing(code, row, col, count, (damage.more.argmax(-1) == 1) & (count == c.group))

    def _draw(self, state: TokenState, active: Tensor, shift: Tensor, drawing: Drawing, accepted: Tensor) -> None:
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
