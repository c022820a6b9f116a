"""What the odds of codes make of a noisy latent."""

from __future__ import annotations

import math

import pytest
import torch

from nc_gym.computer.code_denoiser import certain_share, one_step_codes, posterior_mean
from nc_gym.computer.codec import TileCodec
from nc_gym.computer.config import NeuralComputerConfig
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


def test_a_share_that_is_certain_holds_against_the_worst_of_the_others():
    """Just above it the mean snaps to that code, wherever the rest goes, also among latents of unlike length."""
    latents = unit_latents(40, 3) * torch.linspace(0.8, 1.0, 40)[:, None]
    share = certain_share(latents) + 1e-6
    for k in range(40):
        means = share * latents[k] + (1 - share) * latents
        assert (torch.cdist(means, latents).argmin(1) == k).all()


def test_no_smaller_share_is_certain():
    """Two near codes and one across: what the rest of the share pulls towards makes the other near one the nearest."""
    latents = torch.tensor([[1.0], [0.8], [-1.0]])
    certain = certain_share(latents)
    assert certain == pytest.approx(0.95)
    for share, nearest in ((certain + 0.001, 0), (certain - 0.001, 1)):
        mean = share * latents[0] + (1 - share) * latents[2]
        assert int(torch.cdist(mean[None], latents).argmin()) == nearest


def test_where_no_share_is_certain_every_mean_is_snapped():
    """All latents at one point, as before training, make the share not a number."""
    codec = TileCodec(NeuralComputerConfig())
    odds = torch.randn(9, len(codec.code_latents), generator=torch.Generator().manual_seed(5))
    certain = certain_share(codec.code_latents)
    assert math.isnan(certain)
    mean = odds.softmax(-1) @ codec.code_latents
    assert torch.equal(one_step_codes(odds, codec, certain), codec.snap(mean))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("sharpness", [0.5, 3.0, 12.0])
def test_one_step_without_noise_draws_what_one_step_from_noise_draws(sharpness, dtype):
    codec, generator = TileCodec(NeuralComputerConfig()), torch.Generator().manual_seed(4)
    codes, dim = codec.code_latents.shape
    latents = torch.nn.functional.normalize(torch.randn(codes, dim, generator=generator), dim=1) * dim**0.5
    codec.code_latents.copy_(latents)
    odds = (torch.randn(500, codes, generator=generator) * sharpness).to(dtype)
    noise = torch.randn(500, dim, generator=generator)
    drawn = codec.snap(FlowSampler(1).sample(lambda z, s: posterior_mean(odds, z, s, latents), noise))
    share, certain = odds.softmax(-1).amax(-1), certain_share(latents)
    assert (share > certain).any() or sharpness < 12
    assert (share <= certain).any()
    assert torch.equal(one_step_codes(odds, codec, certain), drawn)
