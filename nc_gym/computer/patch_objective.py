"""The training objective of a computer with a pointer: teacher-forced losses of a batch of sessions.

For every event: cross-entropy of what h_t says by itself (whether something changes, pointer, windows, motion, damage,
and, of some tiles of small changes, what they show).
For the events chosen for the painter: the scout's damage, the likelihood of damaged tiles under the mixture of their
sources, which is all that the denoiser learns from too. A batch is made by ``patch_batches.py``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nc_gym.computer.code_denoiser import posterior_mean
from nc_gym.computer.echo import find_offsets
from nc_gym.computer.objective import Batch
from nc_gym.computer.painter import BACKED, DRAW, ECHO, KEEP, MOVE, RECALLS, Canvas, Paint
from nc_gym.computer.patch_geometry import grid, moved_codes, tile_at
from nc_gym.computer.patch_network import PatchNetwork
from nc_gym.computer.pointer_log import Outlook, PointerTokens
from nc_gym.computer.table_head import TableOdds

COPIED_SHARE = 0.12  # of the tiles that some source shows already, whose likelihood is computed
DRAWN_SHARE = 0.6  # of the tiles that none shows
GUESSED_SHARE = 0.5  # of the painted events, whose motion and windows are what h_t says, right or wrong, as in the loop
_DAMAGE_WEIGHT, _LOG_DAMAGE_WEIGHT = 0.3, 0.02  # per patch
FEW_PATCHES = 6  # that an event changes at most, if h_t is to name by itself
CONTENT_SHARE = 0.3  # of their changed tiles
_CONTENT_WEIGHT = 0.4
_ECHO_WEIGHT = 0.3  # per event with an echo, of which a batch has few


def copied(
    paint: Paint, kept: Tensor, moved: Tensor, backed: Tensor, echoed: Tensor, versions: Tensor, target: Tensor
) -> Tensor:
    """Returns the likelihood (P, 16) of the target tiles under the sources that copy, float32.

    Args:
        paint: what the painter says.
        kept: the framebuffer's codes (P, 16).
        moved: codes that the motion brings (P, 16).
        backed: codes of the backing stores (P, 16).
        echoed: codes that the echo brings (P, 16).
        versions: codes of earlier states (P, V, 16).
        target: (P, 16).
    """
    share = paint.source.float().softmax(-1)
    recalled = paint.recall.float().softmax(-1) @ (versions == target[:, None]).float()  # (P, RECALLS, 16)
    total = share[..., KEEP] * (kept == target) + share[..., MOVE] * (moved == target)
    total = total + share[..., BACKED] * (backed == target) + share[..., ECHO] * (echoed == target)
    for r in range(RECALLS):
        total = total + share[..., MOVE + 1 + r] * recalled[:, r]
    return total


def corrupt_states(states: Tensor, generator: torch.Generator, used_codes: int) -> Tensor:
    """Replaces a tile of every hundredth patch state (U, 16) by a random one, so that a wrong tile does no harm."""
    hit = torch.rand(states.shape, generator=generator) < 0.01 / states.shape[1]
    wrong = torch.randint(used_codes, states.shape, generator=generator)  # drawn on the CPU, as the generator is
    return torch.where(hit.to(states.device), wrong.to(states.device), states)


def log_terms(
    net: PatchNetwork, batch: Batch, encoded: Tensor
) -> tuple[Tensor, Outlook, TableOdds, Tensor, dict[str, Tensor]]:
    """Returns h (B * T, d), what it says by itself, of windows too, the damage (B * T, patches), and their losses."""
    B, T = batch["valid"].shape
    token, last = batch["change_token"], batch["change_token"] % T == T - 1
    before = net.changes(encoded[batch["change_state"][~last]], batch["change_place"][~last], token[~last] + 1, B * T)
    inputs = {k: batch[k] for k in ("event", "moved", "since", "last", "near")}
    inputs |= {"sprite": batch["sprite_in"], "windows": batch["windows_in"]}
    tokens = PointerTokens(**inputs, drawn=before.view(B, T, -1))
    h = net.log(tokens).flatten(0, 1)
    valid = batch["valid"].flatten()
    outlook, events = net.outlook(h, batch["moved"].flatten(0, 1)), valid.sum()

    def ce(logits: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(logits[valid].float(), target.flatten()[valid], reduction="sum") / events

    known, pointer, held, since, now = (
        batch[k].flatten(0, 1) for k in ("windows_in", "event", "held", "since", "windows")
    )
    table = net.table(h, known, pointer[:, :2], held, since)

    c = net.config
    damaged = torch.zeros(B * T, c.num_patches, device=h.device)
    damaged[batch["damage_token"], batch["damage_place"]] = 1.0
    missed = F.binary_cross_entropy_with_logits(outlook.damage[valid].float(), damaged[valid], reduction="sum")
    return (
        h,
        outlook,
        table,
        damaged,
        {
            "changes": ce(outlook.changes, batch["changes"]),
            "pointer": ce(outlook.column, batch["event"][..., 0]) + ce(outlook.row, batch["event"][..., 1]),
            "sprite": ce(outlook.sprite + net.image(now, pointer[:, :2]), batch["sprite"]),
            "motion": ce(outlook.down, batch["motion"][..., 0] + c.tile_rows - 1)
            + ce(outlook.right, batch["motion"][..., 1] + c.tile_columns - 1),
            "outlook": _LOG_DAMAGE_WEIGHT * missed / events,
            "windows": -table.log_likelihood(now)[valid].sum() / events,
        },
    )


def content(net: PatchNetwork, batch: Batch, h: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Returns the cross-entropy of what changed tiles show, given h (B * T, d) and where they are, and shares right.

    The painter sees few of a batch's events, so what it teaches about a rare one (the digits of a sum) is little. Here
    the look of every small change has to do without the painter's state and without what stands around the tile, and
    is asked for twice: of h itself, and of the h before, which is told what comes. It is a focal loss (Lin et al. 2017,
    gamma 1), as most tiles have long been known. The shares (2,) are those of h itself and of the h before.
    """
    events, windows = batch["event"].flatten(0, 1), batch["windows"].flatten(0, 1)
    now, before = (batch["states"][batch[name]] for name in ("damage_state", "damage_before"))  # (G, 16)
    few = torch.bincount(batch["damage_token"], minlength=len(h))[batch["damage_token"]] <= FEW_PATCHES
    chosen = (torch.rand(now.shape, generator=generator) < CONTENT_SHARE).to(h.device)
    g, t = torch.nonzero((now != before) & few[:, None] & chosen, as_tuple=True)
    target, token = now[g, t], batch["damage_token"][g]
    row, column = tile_at(net.config, batch["damage_place"][g], t)
    slot, around = h.new_zeros(len(g), net.config.renderer_width), h.new_zeros(len(g), net.look.seen.in_features)
    told = net.told(windows, events[:, :2])
    earlier = F.pad(h.view(*batch["valid"].shape, -1)[:, :-1], (0, 0, 1, 0)).flatten(0, 1)
    missed, right = h.new_zeros((), dtype=torch.float32), []
    for said in (h, net.foresight(earlier, events, told)):
        odds = net.denoiser(net.look(slot, said + told, around, events, windows, token, row, column))
        each = F.cross_entropy(odds.float(), target, reduction="none")
        hard = 1 - (-each.detach()).exp()
        missed = missed + (hard * each).sum() / hard.sum().clamp(min=1)
        right.append((odds.argmax(-1) == target).sum() / max(len(g), 1))
    return missed, torch.stack(right)


def losses(net: PatchNetwork, batch: Batch, generator: torch.Generator, corrupted: bool) -> dict[str, Tensor]:
    """Returns the loss terms, ``total`` among them, detached measures of teacher-forced accuracy and ``event_loss``.

    Args:
        net: the network.
        batch: sessions and the events chosen for the painter.
        generator: source of noise and of choices of tiles.
        corrupted: let the network see a few wrong tiles and wrong motions.
    """
    states = batch["states"]  # (U, 16)
    seen_states = corrupt_states(states, generator, net.codec.used_codes()) if corrupted else states
    encoded = net.encoder(seen_states).float()  # float32: gradients of thousands of uses are summed
    encoded_half = encoded.to(net.encoder.read.weight.dtype)
    h, outlook, table, damaged, terms = log_terms(net, batch, encoded_half)
    missed, content_right = content(net, batch, h, generator)
    terms["content"] = _CONTENT_WEIGHT * missed
    at = batch["at"]
    pointer, before, true_motion, windows = (
        batch[k].flatten(0, 1)[at] for k in ("event", "before", "motion", "windows")
    )
    guessed = torch.rand(len(at), generator=generator) < (GUESSED_SHARE if corrupted else 0.0)
    guessed = guessed.to(h.device)
    motion = torch.where(guessed[:, None], outlook.motion()[at], true_motion)
    said = TableOdds(**{name: odds[at] for name, odds in vars(table).items()}).table()
    windows = torch.where(guessed[:, None, None], said, windows)
    h = h[at] + net.told(windows, pointer[:, :2])
    event, place, target = batch["patch_event"], batch["place"], states[batch["target"]]
    shown = (_rows(encoded, batch[name], h.dtype) for name in ("canvas", "backed"))
    scouted = net.scout(*shown, h, pointer[:, :2], before, motion, windows)
    codes = states[batch["canvas"]]  # (A, patches, 16)
    kept = codes[event, place]
    changed = damaged[at]
    stale = batch["canvas"][event, place] != batch["target"]  # whatever is wrong before the event is damage too
    changed[event[stale], place[stale]] = 1.0
    logits = net.scout.damage(scouted.patches)[..., 0].float()
    missed = F.binary_cross_entropy_with_logits(logits, changed, reduction="none").masked_fill(batch["lost"], 0).sum(1)
    terms["scout"] = _DAMAGE_WEIGHT * (missed * (1 + changed.sum(1)) ** -0.4).mean()  # or windows would drown typing
    moved = moved_codes(net.config, codes, event, place, motion)
    echo = net.echo(h)
    echoed = moved_codes(net.config, codes, event, place, echo.offset())
    of_backed = batch["backed"][event, place]
    canvas = Canvas(
        event, place, net.encoder(moved), _rows(encoded, of_backed, h.dtype), net.encoder(echoed),
        _rows(encoded, batch["version"], h.dtype), batch["age"], windows,
    )  # fmt: skip
    paint = net.painter(scouted, h, canvas)
    versions = torch.where(batch["age"][..., None] >= 0, states[batch["version"]], -1)
    backed = states[of_backed]
    copy = copied(paint, kept, moved, backed, echoed, versions, target)  # (P, 16)
    possible = (versions == target[:, None]).any(1) | (kept == target) | (moved == target) | (backed == target)
    chance = torch.rand(possible.shape, generator=generator).to(h.device)
    taken = torch.where(possible, COPIED_SHARE, DRAWN_SHARE)
    p, t = torch.nonzero(chance < taken, as_tuple=True)
    slots = net.denoiser.slot_state(paint.state)
    odds = net.code_odds(slots, h, codes, pointer, windows, event[p], place[p], p, t)
    named = odds.float().log_softmax(-1)
    drawn = named.gather(1, target[p, t][:, None])[:, 0]
    share = paint.source[p, t].float().log_softmax(-1)[:, DRAW]
    likelihood = torch.logaddexp((copy[p, t] + 1e-9).log(), share + drawn)
    weight = batch["weight"][p].float() / (kept.shape[1] * taken[p, t])
    each = -likelihood * weight
    terms["tiles"] = each.sum() / len(at)
    with torch.no_grad():  # a tile that is there already has nothing to be fetched from elsewhere
        screens, (row, column) = grid(codes, net.config), tile_at(net.config, place[p], t)
        by_drawing = torch.where(possible[p, t], 1, (share + drawn).exp())
        offset, found = find_offsets(screens, event[p], row, column, target[p, t], by_drawing, taken[p, t])
    terms["echo"] = -_ECHO_WEIGHT * (echo.log_likelihood(offset) * found).sum() / (1 + found.sum())
    terms["total"] = torch.stack(list(terms.values())).sum()
    with torch.no_grad():
        per_event = torch.zeros(2, len(at), device=h.device).index_add(1, event[p], torch.stack([each, weight]))
        terms["event_loss"] = per_event[0] / per_event[1].clamp(min=1e-9)  # (A,), the mean over its tiles
        terms["damage_recall"] = ((logits > 0) & (changed == 1)).sum() / changed.sum().clamp(min=1)
        terms["damage_precision"] = ((logits > 0) & (changed == 1)).sum() / (logits > 0).sum().clamp(min=1)
        best = torch.where(possible[p, t], copy[p, t], 0) + share.exp() * drawn.exp()
        terms["tile_right"] = ((best > 0.5).float() * weight).sum() / weight.sum().clamp(min=1e-9)
        must = ~possible[p, t]
        terms["drawn_right"] = (drawn[must].exp() > 0.5).float().sum() / must.sum().clamp(min=1)
        needed, latents = named[must], net.codec.code_latents
        noise = torch.randn(len(needed), latents.shape[1], generator=generator).to(h.device)
        denoised = net.codec.snap(posterior_mean(needed, noise, 1.0, latents))
        terms["rendered_right"] = (denoised == target[p, t][must]).float().sum() / must.sum().clamp(min=1)
        terms["content_right"], terms["foreseen_right"] = content_right
        terms["echoes"], right = found.float().sum(), (echo.offset() == offset).all(1) & found
        terms["echo_right"] = right.sum() / found.sum().clamp(min=1)
        terms["token_right"] = terms["tile_right"]
    return terms


def _rows(table: Tensor, index: Tensor, dtype: torch.dtype) -> Tensor:
    """Returns rows of a float32 table (U, e), as ``dtype``: (*index.shape, e)."""
    return table.index_select(0, index.flatten()).to(dtype).view(*index.shape, -1)
