"""The sampler: noise that belongs to a row and a moment, and Euler steps along the flow."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nc_gym.computer.sampler import FlowSampler, row_noise, splitmix64


def noise(seeds, counters, dim=16):
    return row_noise(torch.tensor(seeds), torch.tensor(counters), dim)


def unsigned(x):
    return np.asarray(x).astype(np.uint64)


def test_splitmix64_is_the_published_function():
    """Against plain unsigned arithmetic on Python integers."""

    def reference(x):
        mask = (1 << 64) - 1
        x = (x + 0x9E3779B97F4A7C15) & mask
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
        return x ^ (x >> 31)

    values = [0, 1, -1, 2**63 - 1, -(2**63), 123456789]
    expected = [reference(value % 2**64) for value in values]
    assert unsigned(splitmix64(torch.tensor(values))).tolist() == expected
    assert expected[0] == 0xE220A8397B1DCDAF  # the first output of the generator with seed 0


def test_noise_is_a_function_of_seed_and_counter_alone():
    seeds, counters = list(range(-20, 21)), list(range(41))
    together = noise(seeds, counters)
    for i in (0, 7, 40):
        torch.testing.assert_close(noise(seeds[i : i + 1], counters[i : i + 1])[0], together[i], rtol=0, atol=1e-6)
    torch.testing.assert_close(noise(seeds[::-1], counters[::-1]).flip(0), together, rtol=0, atol=1e-6)


def test_the_global_generator_is_neither_read_nor_moved():
    before = torch.get_rng_state()
    first = noise([1, 2], [3, 4])
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng():
        torch.manual_seed(99)
        assert torch.equal(noise([1, 2], [3, 4]), first)


def test_noise_is_standard_normal():
    x = noise([5] * 4000, list(range(4000)), 32).double()  # 128,000 numbers
    n = x.numel()
    assert abs(float(x.mean())) < 4 / n**0.5
    assert abs(float(x.var()) - 1) < 4 * (2 / n) ** 0.5
    assert abs(float((x**4).mean()) - 3) < 4 * (96 / n) ** 0.5
    assert abs(float((x.abs() > 1.959964).double().mean()) - 0.05) < 4 * (0.05 * 0.95 / n) ** 0.5
    assert torch.isfinite(x).all()


@pytest.mark.parametrize("what", ["seeds", "counters"])
def test_neighbouring_seeds_counters_and_dimensions_are_independent(what):
    near = list(range(2000))
    x = noise(near, [0] * 2000) if what == "seeds" else noise([0] * 2000, near)
    x = x.double()
    assert len(torch.unique(x, dim=0)) == 2000
    bound = 5 / 2000**0.5
    along = torch.stack([torch.corrcoef(torch.stack([x[:-1, d], x[1:, d]]))[0, 1] for d in range(16)])
    assert float(along.abs().max()) < bound
    across = torch.corrcoef(x.T).fill_diagonal_(0)
    assert float(across.abs().max()) < bound


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_denoiser_that_knows_the_answer_is_followed_to_it(steps):
    answer, start = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), noise([0, 1, 2], [0, 0, 0], 4)
    seen = []

    def denoise(z, s):
        torch.testing.assert_close(z, (1 - s) * answer + s * start)  # on the straight line between them
        seen.append(s)
        return answer

    assert torch.equal(FlowSampler(steps).sample(denoise, start), answer)
    assert seen == pytest.approx([1 - i / steps for i in range(steps)])


def test_steps_are_eulers():
    """With x = z/2 the flow is dz/ds = z/(2s); two Euler steps and a last one to the estimate, by hand."""
    z = torch.full((1, 1), 8.0)
    out = FlowSampler(2).sample(lambda z, s: z / 2, z)
    after_one = 8.0 + (0.5 - 1.0) * (8.0 - 4.0) / 1.0  # 6
    assert float(out) == pytest.approx(after_one / 2)


@pytest.mark.parametrize("steps", [0, -3])
def test_no_step_at_all_is_refused(steps):
    with pytest.raises(ValueError, match=rf"denoise_steps={steps}; at least 1 step is needed"):
        FlowSampler(steps)
