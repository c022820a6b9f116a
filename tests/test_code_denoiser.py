"""What the odds of codes make of a noisy latent."""

from __future__ import annotations

import math

import pytest
import torch

from nc_gym.computer.code_denoiser import posterior_mean
from nc_gym.computer.sampler import FlowSampler


def unit_latents(codes: int = 6, dim: int = 4) -> torch.Tensor:
    latents = torch.randn(codes, dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.nn.functional.normalize(latents, dim=1) * dim**0.5


@pytest.mark.parametrize("level", [1.0, 0.7, 0.2])
def test_the_estimate_is_the_mean_of_the_posterior(level):
    latents, generator = unit_latents(), torch.Generator().manual_seed(1)
    odds, z = torch.randn(5, 6, generator=generator).double(), torch.randn(5, 4, generator=generator).double()
    for row in range(5):
        weights = [
            math.exp(float(odds[row, k]) - float((z[row] - (1 - level) * x).square().sum()) / (2 * level**2))
            for k, x in enumerate(latents)
        ]
        mean = sum(w * x for w, x in zip(weights, latents, strict=True)) / sum(weights)
        estimate = posterior_mean(odds[row : row + 1], z[row : row + 1], level, latents)[0]
        torch.testing.assert_close(estimate, mean)


def test_pure_noise_says_nothing():
    latents, odds = unit_latents(), torch.randn(1, 6).double().expand(7, -1)
    estimates = posterior_mean(odds, torch.randn(7, 4).double(), 1.0, latents)
    assert (estimates == estimates[0]).all()


def test_an_open_choice_is_made_by_the_noise_as_often_as_the_odds_say():
    latents = unit_latents().float()
    odds = torch.tensor([0.0, math.log(3), *[-30.0] * 4]).expand(4000, -1)
    noise = torch.randn(4000, 4, generator=torch.Generator().manual_seed(2))
    drawn = FlowSampler(50).sample(lambda z, s: posterior_mean(odds, z, s, latents), noise)
    code = torch.cdist(drawn, latents).argmin(1)
    assert set(code.tolist()) == {0, 1}
    assert (code == 1).float().mean() == pytest.approx(0.75, abs=0.04)


def test_a_tile_that_the_odds_are_sure_of_is_drawn_whatever_the_noise():
    """A denoiser that learned the latents by a squared error drew a fifth of them wrong."""
    latents = unit_latents().float()
    odds = torch.full((6, 6), -3.0).fill_diagonal_(1.0)
    noise = torch.randn(6, 4, generator=torch.Generator().manual_seed(3))
    drawn = FlowSampler(1).sample(lambda z, s: posterior_mean(odds, z, s, latents), noise)
    assert torch.cdist(drawn, latents).argmin(1).tolist() == list(range(6))
