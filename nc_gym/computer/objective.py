"""The training objective: teacher-forced losses of a batch of token sessions.

Per token: cross-entropy of the scout's motion, count, continuation and places, cross-entropy of the codes to draw (the
dense supervision of h_t), and, on a random share of the tiles, the flow-matching loss of the renderer. A batch is a
dict of padded tensors made by ``batches.py``.
"""

from __future__ import annotations

from dataclasses import fields

import torch
import torch.nn.functional as F
from torch import Tensor

from nc_gym.computer.codec import TileCodec
from nc_gym.computer.event_log import LogTokens
from nc_gym.computer.network import Network
from nc_gym.computer.renderer import Renderer

Batch = dict[str, Tensor]

FORESIGHT = 0.08  # share of its loss, which would be most of the total: it guesses what a later token knows


def corrupt(batch: Batch, generator: torch.Generator, num_codes: int, used_codes: int) -> Batch:
    """Replaces a few codes that the log and the gaze read by random ones, so that a wrong tile does not derail it.

    A quarter of the sessions get up to 2 % wrong codes; targets stay true.
    """
    B = len(batch["event"])
    rate = torch.rand(B, generator=generator) * 0.02 * (torch.rand(B, generator=generator) < 0.25)
    out = dict(batch)
    for name in ("code_in", "gaze"):
        codes = batch[name]
        hit = torch.rand(codes.shape, generator=generator) < rate.view(-1, *[1] * (codes.dim() - 1))
        wrong = torch.randint(used_codes, codes.shape, generator=generator)
        out[name] = torch.where(hit & (codes < num_codes), wrong, codes)
    return out


def noise_levels(n: int, generator: torch.Generator) -> Tensor:
    """Noise levels s (n,): half at pure noise, where one-step sampling starts, the rest uniform."""
    s = torch.rand(n, generator=generator)
    return torch.where(torch.rand(n, generator=generator) < 0.5, torch.ones(n), s)


def coming_codes(batch: Batch, tokens: int, num_codes: int) -> Tensor:
    """Returns the codes (B, T, tokens * S) that the next tokens draw, else ``num_codes``.

    They are those of the token's own event as far as it is not done, else those of the next event if it draws more
    than one token: what is read off the screen at once, such as a typed letter, needs no foresight.
    """

    def ahead(name: str, n: int, beyond: int) -> Tensor:
        x = batch[name][:, n:]
        return F.pad(x, (*[0, 0] * (x.dim() - 2), 0, n), value=beyond)

    worth_it = (ahead("first", 1, 1) == 0) | (ahead("more", 1, 0) == 1)
    next_index = ahead("index", 1, -1)
    coming = []
    for n in range(1, tokens + 1):
        same = worth_it & (ahead("index", n, -1) == next_index) & ahead("valid", n, 0)
        coming.append(torch.where(same[..., None], ahead("code", n, num_codes), num_codes))
    return torch.cat(coming, -1)


def flow_matching(
    codec: TileCodec, renderer: Renderer, code: Tensor, condition: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Noises tiles and denoises them again.

    Args:
        codec: the network's.
        renderer: the network's.
        code: (P,), the tiles to render.
        condition: (P, w), of the renderer.
        generator: source of noise levels and noise.

    Returns:
        The squared error summed over tiles, and the share of tiles right among those that began as pure noise.
    """
    x = codec.code_latents[code]  # (P, d_z)
    s = noise_levels(len(x), generator).to(x.device)
    eps = torch.randn(x.shape, generator=generator).to(x.device)
    z = (1 - s[:, None]) * x + s[:, None] * eps
    estimate = renderer(z, s, condition).float()
    with torch.no_grad():
        pure = s == 1
        right = codec.snap(estimate[pure]) == code[pure]
    return (estimate - x).square().mean(-1).sum(), right.sum() / pure.sum().clamp(min=1)


def losses(net: Network, batch: Batch, generator: torch.Generator, render_share: float = 0.15) -> dict[str, Tensor]:
    """Returns the loss terms, ``total`` among them, and detached measures of teacher-forced accuracy.

    Args:
        net: the network.
        batch: padded sessions; ``valid`` (B, T) marks real tokens.
        generator: source of noise levels, noise and tile choice.
        render_share: share of the drawn tiles that the renderer trains on.
    """
    valid = batch["valid"]
    tokens = LogTokens(**{f.name: batch[f.name] for f in fields(LogTokens)})
    h = net.log(tokens, batch["gaze"], batch["index"])[valid]  # (M, d)
    damage = net.scout(h)
    slots = net.renderer.slot_state(h)  # (M, S, w)
    drawn = batch["code"][valid] < net.config.num_codes  # (M, S)
    code, row, col = (batch[k][valid][drawn] for k in ("code", "row", "col"))
    M = len(h)

    def ce(logits: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(logits.float(), target, reduction="sum") / M

    slot = slots[drawn]  # (P, w)
    logits = net.renderer.codes(slot)
    row_logits, col_logits = damage.row[drawn], damage.col[drawn]
    shift, count, more = (batch[k][valid] for k in ("shift", "count", "more"))
    first = batch["first"][valid].bool()
    terms = {
        "shift": ce(damage.shift[first], shift[first]),
        "count": ce(damage.count, count),
        "more": ce(damage.more, more),
        "row": ce(row_logits, row),
        "col": ce(col_logits, col),
        "code": ce(logits, code),
    }
    coming = coming_codes(batch, net.config.foresight, net.config.num_codes)[valid]  # (M, foresight * S)
    known = coming < net.config.num_codes
    some = known.any(-1)
    told = F.pad(batch["event"][:, 1:], (0, 1))[valid][some]
    foreseen = net.foresight(h[some], told)[known[some]]
    terms["foresight"] = FORESIGHT * ce(net.foresight.codes(foreseen), coming[known])
    pick = (torch.rand(len(code), generator=generator) < render_share).to(code.device)
    condition = net.renderer.condition(
        slot[pick], net.codec.code_latents[batch["old"][valid][drawn][pick]], row[pick], col[pick]
    )
    error, rendered_right = flow_matching(net.codec, net.renderer, code[pick], condition, generator)
    terms["render"] = error / (render_share * M)
    terms["total"] = torch.stack(list(terms.values())).sum()
    with torch.no_grad():
        right_tiles = (logits.argmax(-1) == code) & (row_logits.argmax(-1) == row) & (col_logits.argmax(-1) == col)
        tiles_right = torch.ones_like(drawn).masked_scatter(drawn, right_tiles).all(-1)
        token_right = tiles_right & (damage.count.argmax(-1) == count) & (damage.more.argmax(-1) == more)
        token_right &= ~first | (damage.shift.argmax(-1) == shift)
        terms["rendered_right"] = rendered_right
        terms["token_right"] = token_right.float().mean()
        terms["token_right_each"] = token_right
    return terms
