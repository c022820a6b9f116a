"""What a tile may show, given where the painter says it comes from: the mixture of all its sources.

p(code) = sum_copies share * [the copy shows it] + share_draw * odds_draw(code), the likelihood that training maximises
(``patch_objective.losses``), but for the earlier states: here each recall has its likeliest one instead of all. In: the
painter's shares and what each copy shows. Out: the likeliest code where nothing that is drawn can be likelier, and
log p of the other tiles, by which the denoiser denoises them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nc_gym.computer.painter import BACKED, DRAW, EARLIER, ECHO, KEEP, MOVE, RECALLS, Paint

_COPIES = [KEEP, MOVE, *range(EARLIER, EARLIER + RECALLS), BACKED, ECHO]


@dataclass
class Mixture:
    """The sources of every tile of P patches."""

    shown: Tensor  # (P, 16, C) the code that each of C copies shows; ``num_codes`` stands for nothing
    share: Tensor  # (P, 16, C) of each copy, 0 of one that shows nothing
    draw: Tensor  # (P, 16) share of drawing
    code: Tensor  # (P, 16) the likeliest code of the copies alone
    open: Tensor  # (P, 16) whether another code may be likelier once it is known what would be drawn

    def settled(self, drawn: Tensor, p: Tensor, t: Tensor, certain: float) -> tuple[Tensor, Tensor]:
        """Returns the code that would be drawn (Q,), and whether drawing alone gives it over ``certain`` of p (Q,).

        Args:
            drawn: log odds (Q, K) of the codes if they are drawn.
            p: which patch.
            t: which of its 16 tiles.
            certain: share of p.
        """
        most, code = drawn.softmax(-1).max(-1)
        draw = self.draw[p, t]
        return code, draw * most > certain * (draw + self.share[p, t].sum(-1))

    def log_odds(self, drawn: Tensor, p: Tensor, t: Tensor) -> Tensor:
        """Returns log p (Q, K) of the tiles numbered ``t`` (Q,) of the patches numbered ``p`` (Q,).

        Args:
            drawn: log odds (Q, K) of their codes if they are drawn, up to a constant of the row.
            p: which patch.
            t: which of its 16 tiles.
        """
        odds = drawn.softmax(-1) * self.draw[p, t, None].to(drawn.dtype)
        shown = self.shown[p, t].clamp(max=odds.shape[1] - 1)  # one that shows nothing has no share to add
        return odds.scatter_add(1, shown, self.share[p, t].to(odds.dtype)).log()


def mix(
    paint: Paint, kept: Tensor, moved: Tensor, backed: Tensor, echoed: Tensor, versions: Tensor, num_codes: int
) -> Mixture:
    """Returns the mixture of the sources of P patches' tiles.

    Args:
        paint: what the painter says.
        kept: the framebuffer's codes (P, 16).
        moved: codes that the motion brings (P, 16).
        backed: codes of the backing stores (P, 16).
        echoed: codes that the echo brings (P, 16).
        versions: codes of earlier states (P, V, 16).
        num_codes: K; in place of a code it stands for nothing, as beyond the screen and for versions that never were.
    """
    share = paint.source.float().softmax(-1)
    best = paint.recall.argmax(-1)  # (P, RECALLS)
    patch = torch.arange(len(kept), device=kept.device)
    earlier = (versions[patch, best[:, r]] for r in range(RECALLS))
    shown = torch.stack([kept, moved, *earlier, backed, echoed], -1)
    copies = share[..., _COPIES].masked_fill(shown == num_codes, 0)
    agreed = ((shown[..., None] == shown[..., None, :]) * copies[..., None, :]).sum(-1)  # of copies that agree
    top, which = agreed.max(-1)
    code = shown.gather(-1, which[..., None])
    second = agreed.masked_fill(shown == code, 0).amax(-1)
    return Mixture(shown, copies, share[..., DRAW], code[..., 0], top < second + share[..., DRAW])
