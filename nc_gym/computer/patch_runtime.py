"""A neural computer with a pointer: an event's damage is painted patch by patch, all at once.

A step feeds the event to the event log; h_t says where the pointer goes and how it looks, which windows there are then
and whether the screen changes at all. If it does, the scout looks at the framebuffer and names the patches that change,
the painter says where each of their tiles may come from, and those where drawing may decide are denoised and snapped.
What was painted and the window table are the log's next input. The pointer lies on top.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nc_gym.computer.backing_store import compose
from nc_gym.computer.boots import BootBank
from nc_gym.computer.code_denoiser import certain_share, one_step_codes, posterior_mean
from nc_gym.computer.mixture import Mixture, mix
from nc_gym.computer.painter import Canvas
from nc_gym.computer.patch_geometry import cut, moved_codes, tile_at, tiles_near
from nc_gym.computer.patch_network import SPRITE_SIDE, PatchNetwork
from nc_gym.computer.pointer_log import Outlook, PointerTokens
from nc_gym.computer.sampler import FlowSampler, row_noise
from nc_gym.computer.state import PatchState
from nc_gym.computer.window_table import BOXES, NAMES, SIDES

TILES_AT_ONCE = 512  # that are denoised: the odds of their codes stay in the cache of a CPU


class PatchRuntime:
    """Boots and steps rows of a ``PatchNetwork``.

    Args:
        network: the trained network, on its device.
        bank: the recorded boots, which hold no events.
        sampler: how tiles are denoised.
        dtype: of the network's activations.
    """

    def __init__(self, network: PatchNetwork, bank: BootBank, sampler: FlowSampler, dtype: torch.dtype) -> None:
        self.network, self.bank, self.sampler, self.dtype = network, bank, sampler, dtype
        self.config = network.config
        self.device = network.codec.prototypes.device
        self.certain = certain_share(network.codec.code_latents)

    def empty(self, rows: int) -> PatchState:
        """Returns ``rows`` rows before any boot."""
        return PatchState.blank(self.config, rows, self.device, self.dtype)

    def boot(self, boot: int) -> PatchState:
        """Returns a row that shows the recorded boot."""
        state = self.empty(1)
        state.codes[:] = self.bank.first_codes(boot).to(self.device)
        state.pixels[:] = self.network.codec.screens(state.codes)
        state.pointer[:] = self.bank.pointers[boot].to(self.device)
        return state

    def screens(self, state: PatchState) -> Tensor:
        """Returns the screens with their pointers, uint8 (N, H, W, 3)."""
        c, net = self.config, self.network
        screens = state.pixels.clone()
        column, row, sprite = state.pointer.unbind(1)
        side = torch.arange(SPRITE_SIDE, device=self.device)
        x = (column * c.tile_width - net.hots[sprite, 0])[:, None, None] + side
        y = (row * c.tile_height - net.hots[sprite, 1])[:, None, None] + side[:, None]
        inside = (x >= 0) & (x < c.screen_width) & (y >= 0) & (y < c.screen_height)
        n, i, j = torch.nonzero(inside & (net.sprites[sprite, :, :, 3] > 0), as_tuple=True)
        y, x = y[n, i, 0], x[n, 0, j]
        image = net.sprites[sprite[n], i, j].int()
        under = screens[n, y, x].int()
        screens[n, y, x] = (image[:, :3] + (under * (255 - image[:, 3:]) + 127) // 255).to(torch.uint8)
        return screens

    def step(self, state: PatchState, event: Tensor, active: Tensor) -> None:
        """Sends one event to each of the rows numbered ``active`` (A,) and paints its next screen, in place.

        Args:
            state: N rows.
            event: int64 (A, 4).
            active: int64 (A,), at least one.
        """
        state.memory.open(active, 1)
        tokens = self._tokens(state, event, active)
        h = self.network.log.step(tokens, state.memory)  # (A, d)
        state.memory.advance(torch.ones_like(active))
        outlook = self.network.outlook(h, tokens.moved[:, 0])
        before = state.pointer[active, :2]
        changes = outlook.changes.argmax(-1).bool()
        known, windows = tokens.windows[:, 0], self._windows(state, tokens, h, active, changes)
        state.windows[active] = windows
        state.pointer[active] = self._pointer(state, outlook, tokens, active, windows)
        state.changes[active] = 0.0
        awake = torch.nonzero(changes)[:, 0]
        if len(awake):
            rows, windows = active[awake], windows[awake]
            composed = self._compose(state, rows, known[awake], windows)
            told = h[awake] + self.network.told(windows, event[awake, :2])
            self._paint(state, rows, told, Outlook(**{k: v[awake] for k, v in vars(outlook).items()}),
                        event[awake], before[awake], windows, composed)  # fmt: skip
        self._hold(state, event, active)
        state.events[active] += 1

    def _windows(self, state: PatchState, tokens: PointerTokens, h: Tensor, active: Tensor, changes: Tensor) -> Tensor:
        """Returns the window tables of the rows ``active`` (A,) after their events, (A, K, FIELDS).

        Where the screen stays as it is, a button can only change what a window goes back to.
        """
        event, windows = tokens.event[:, 0], tokens.windows[:, 0].clone()
        asked = torch.nonzero(changes | (event[:, 2] > 0))[:, 0]
        if len(asked):
            known, rows = windows[asked], active[asked]
            odds = self.network.table(h[asked], known, event[asked, :2], state.held[rows], tokens.since[asked, 0])
            said, shown = odds.table(), slice(NAMES + SIDES)
            true = changes[asked] | (said[..., shown] == known[..., shown]).flatten(1).all(1)
            windows[asked] = torch.where(true[:, None, None], said, known)
        return windows

    def _pointer(
        self, state: PatchState, outlook: Outlook, tokens: PointerTokens, active: Tensor, windows: Tensor
    ) -> Tensor:
        """Returns column, row and image of the pointers (A, 3) of the rows ``active``, over their new windows.

        Where nothing moves or is pressed and no window does anything, the image stays: said anew a thousand times over,
        it would once be another.
        """
        event, image = tokens.event[:, 0], state.pointer[active, 2]
        same = (windows == tokens.windows[:, 0]).flatten(1).all(1)
        still = same & (tokens.moved[:, 0] == 0).all(-1) & (event[:, 2] == 0)
        asked = torch.nonzero(~still)[:, 0]
        if len(asked):
            over = self.network.image(windows[asked], event[asked, :2])
            image[asked] = (outlook.sprite[asked] + over).argmax(-1)
        return torch.stack([outlook.column.argmax(-1), outlook.row.argmax(-1), image], 1)

    def _compose(self, state: PatchState, rows: Tensor, known: Tensor, windows: Tensor) -> Tensor:
        """Returns what the backing stores of ``rows`` (A,) show with their new windows, (A, tiles)."""
        composed = state.codes[rows]
        other = torch.nonzero((windows != known).flatten(1).any(1))[:, 0]
        if len(other):
            n = rows[other]
            state.backing[n], composed[other] = compose(
                self.config, state.backing[n], composed[other], known[other], windows[other]
            )
        return composed

    def _hold(self, state: PatchState, event: Tensor, active: Tensor) -> None:
        """Notes where the windows and the pointer are when a button does something: it may take hold of one."""
        hold = event[:, 2:3] > 0  # no host sync
        state.held[active] = torch.where(hold[..., None], state.windows[active][..., BOXES], state.held[active])
        state.held_at[active] = torch.where(hold, event[:, :3], state.held_at[active])

    def _tokens(self, state: PatchState, event: Tensor, active: Tensor) -> PointerTokens:
        """Returns the log's next input of each row, (A, 1)."""
        patch, inner, inside = tiles_near(self.config, event[:, :2])
        row, column = tile_at(self.config, patch, inner)
        codes = state.codes[active[:, None], row * self.config.tile_columns + column]
        near = torch.where(inside, codes, self.config.num_codes)
        held_at, pointer = state.held_at[active], state.pointer[active]
        tokens = PointerTokens(
            event=event, moved=event[:, :2] - pointer[:, :2], since=event[:, :2] - held_at[:, :2], last=held_at[:, 2],
            sprite=pointer[:, 2], near=near, windows=state.windows[active], drawn=state.changes[active],
        )  # fmt: skip
        return PointerTokens(**{name: part[:, None] for name, part in vars(tokens).items()})

    def _paint(
        self, state: PatchState, rows: Tensor, h: Tensor, outlook: Outlook, event: Tensor, before: Tensor,
        windows: Tensor, composed: Tensor,
    ) -> None:  # fmt: skip
        """Paints what changes on the rows numbered ``rows`` (A,), given what their backing stores show (A, tiles)."""
        c, net = self.config, self.network
        state.clock[rows] += 1  # of every row, or a row's noise would depend on whether others paint
        codes, backed = cut(c, state.codes[rows]), cut(c, composed)  # (A, patches, 16)
        motion = outlook.motion()
        encoded = net.encoder(codes)
        other, encoded_backed = (backed != codes).any(-1), encoded.clone()
        encoded_backed[other] = net.encoder(backed[other])
        scouted = net.scout(encoded, encoded_backed, h, event[:, :2], before, motion, windows)
        a, place = torch.nonzero(net.scout.damage(scouted.patches)[..., 0] > 0, as_tuple=True)
        if not len(a):
            return
        moved = moved_codes(c, codes, a, place, motion)
        echoed = moved_codes(c, codes, a, place, net.echo(h).offset())
        versions = state.versions[rows[a], place].long()  # (P, V, 16)
        drawn_at = state.drawn_at[rows[a], place, 1:]
        age = torch.where(drawn_at == -2, -1, state.events[rows[a], None] - drawn_at)
        kept, there = codes[a, place], age >= 0
        earlier = encoded[a, place][:, None].repeat(1, c.versions, 1)  # as in training, where none are missing
        earlier[there] = net.encoder(versions[there])
        canvas = Canvas(
            a, place, net.encoder(moved), encoded_backed[a, place], net.encoder(echoed), earlier, age, windows
        )
        paint = net.painter(scouted, h, canvas)
        versions = torch.where(there[..., None], versions, c.num_codes)
        mixture = mix(paint, kept, moved, backed[a, place], echoed, versions, c.num_codes)
        code = mixture.code
        p, t = torch.nonzero(mixture.open, as_tuple=True)
        if len(p):
            slots = net.denoiser.slot_state(paint.state)
            some = zip(p.split(TILES_AT_ONCE), t.split(TILES_AT_ONCE), strict=True)
            drawing = state, rows, codes, h, event, windows, slots, mixture, a, place
            code[p, t] = torch.cat([self._denoise(*drawing, *pt) for pt in some])
        changed = (code != kept).any(1)
        self._put(state, rows[a[changed]], place[changed], kept[changed], code[changed])
        state.damage[rows] = torch.bincount(a[p], minlength=len(rows)).float() / c.num_tiles
        done = net.changes(net.encoder(code[changed]), place[changed], a[changed], len(rows))
        state.changes[rows] = done.to(state.changes.dtype)

    def _denoise(
        self, state: PatchState, rows: Tensor, codes: Tensor, h: Tensor, event: Tensor, windows: Tensor,
        slots: Tensor, mixture: Mixture, a: Tensor, place: Tensor, p: Tensor, t: Tensor,
    ) -> Tensor:  # fmt: skip
        """Denoises the tiles numbered ``t`` of the patches numbered ``p``; returns their codes (Q,)."""
        c, net = self.config, self.network
        odds = net.code_odds(slots, h, codes, event, windows, a[p], place[p], p, t)
        if self.sampler.denoise_steps == 1:
            code, settled = mixture.settled(odds, p, t, self.certain)
            q = torch.nonzero(~settled)[:, 0]  # few
            code[q] = one_step_codes(mixture.log_odds(odds[q], p[q], t[q]), net.codec, self.certain)
            return code
        odds = mixture.log_odds(odds, p, t)
        n, latents = rows[a[p]], net.codec.code_latents
        row, column = tile_at(c, place[p], t)
        noise = row_noise(state.seeds[n], state.clock[n] * c.num_tiles + row * c.tile_columns + column, c.latent_dim)
        return net.codec.snap(self.sampler.sample(lambda z, s: posterior_mean(odds, z, s, latents), noise))

    def _put(self, state: PatchState, rows: Tensor, place: Tensor, old: Tensor, new: Tensor) -> None:
        """Shows new patches (P, 16) and remembers the old ones."""
        c = self.config
        state.versions[rows, place] = torch.cat([old.to(torch.int16)[:, None], state.versions[rows, place, :-1]], 1)
        drawn_at = state.drawn_at[rows, place]
        state.drawn_at[rows, place] = torch.cat([state.events[rows, None], drawn_at[:, :-1]], 1)
        row, column = tile_at(c, place[:, None], torch.arange(c.patch**2, device=self.device))
        n = rows[:, None].expand_as(row)
        state.codes[n, row * c.tile_columns + column] = new
        pixels = state.pixels.view(-1, c.tile_rows, c.tile_height, c.tile_columns, c.tile_width, 3)
        pixels[n, row, :, column] = self.network.codec.prototypes[new]
