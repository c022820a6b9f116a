"""The denoiser of a computer with a pointer: from the odds of a tile's codes to its clean latent.

A tile's latent x is one of K. Under rectified flow, z_s = (1 - s) x + s eps, the best estimate of x is therefore known
in closed form once the odds of the codes are: Bayes' rule weighs each code's odds by how well it explains z_s (score
interpolation, Dieleman et al. 2022). So the network learns the odds, by cross-entropy. In: the state of a patch. Out:
log odds of its tiles' codes, which ``posterior_mean`` turns into E[x | z_s].

A network that estimated x itself, by a squared error, got 84 % of the typed characters' tiles right where the odds, of
the same weights, got 96 % (docs/design-notes.md).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nc_gym.computer.codec import TileCodec
from nc_gym.computer.config import NeuralComputerConfig
from nc_gym.computer.event_log import norm


def posterior_mean(odds: Tensor, z: Tensor, s: float, latents: Tensor) -> Tensor:
    """Returns E[x | z_s] = sum_k p_k x_k with p_k ~ odds_k N(z_s; (1 - s) x_k, s^2), for latents x_k of one length.

    Args:
        odds: log odds of the codes (Q, K), up to a constant of the row.
        z: noisy latents (Q, d_z).
        s: their noise level in (0, 1]; at 1 they are nothing but noise.
        latents: x_k, (K, d_z).

    Returns:
        (Q, d_z).
    """
    if s < 1:
        odds = odds + z @ latents.T * ((1 - s) / s**2)  # log N up to a constant, as all |x_k| are alike
    return (odds.softmax(-1) @ latents.to(odds.dtype)).to(z.dtype)


def certain_share(latents: Tensor) -> float:
    """Returns the share p_k from which on E[x | z_1] = sum_j p_j x_j is nearest to x_k, whatever the other shares are.

    The rest pulls the mean by at most (1 - p_k) 2R from x_k, R the longest latent; nearer than half of the way to every
    other code is 1 - p_k < D / 4R, D the distance of the two nearest latents.

    Args:
        latents: x_k, (K, d_z).
    """
    nearest = torch.pdist(latents.float()).min()
    return float(1 - nearest / (4 * latents.float().norm(dim=1).max()))


def one_step_codes(odds: Tensor, codec: TileCodec, certain: float) -> Tensor:
    """Returns ``snap(posterior_mean(odds, z, 1, latents))``, into which no noise enters, without most of its cost.

    Args:
        odds: log odds of the codes (Q, K).
        codec: whose codes they are.
        certain: ``certain_share`` of its latents.

    Returns:
        Codes, int64 (Q,).
    """
    share = odds.softmax(-1)
    most, code = share.max(-1)
    open_ = torch.nonzero(~(most > certain))[:, 0]
    code[open_] = codec.snap(share[open_] @ codec.code_latents.to(odds.dtype))
    return code


class CodeDenoiser(nn.Module):
    """Names the odds of every code for the tiles that are drawn."""

    def __init__(self, config: NeuralComputerConfig) -> None:
        super().__init__()
        self.width = config.renderer_width
        self.slots = nn.Linear(config.width, config.group * self.width, bias=False)
        self.codes = nn.Linear(self.width, config.num_codes)

    def slot_state(self, state: Tensor) -> Tensor:
        """Splits patches' states (P, d) into one per tile (P, 16, w)."""
        return norm(self.slots(state).unflatten(-1, (-1, self.width)))

    def forward(self, slot: Tensor) -> Tensor:
        """Returns the log odds (Q, K) of tiles with the states ``slot`` (Q, w)."""
        return self.codes(slot)
