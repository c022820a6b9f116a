"""Muon beside PyTorch's own, and the choice of a number format."""

from __future__ import annotations

import copy

import pytest
import torch

from nc_gym.computer import precision
from nc_gym.computer.muon import Muon, orthogonalize


@pytest.mark.parametrize("shape", [(3, 24, 60), (3, 60, 24)])
def test_orthogonalize_brings_singular_values_near_one_and_keeps_the_vectors(shape: tuple[int, int, int]) -> None:
    m = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, _, vh = torch.linalg.svd(m, full_matrices=False)
    inner = u.mT @ orthogonalize(m) @ vh.mT
    diagonal = inner.diagonal(dim1=1, dim2=2)
    assert 0.6 < diagonal.min() and diagonal.max() < 1.3
    assert (inner - torch.diag_embed(diagonal)).abs().max() < 1e-3


def test_muon_takes_the_steps_of_pytorch_s() -> None:
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=generator) for shape in ((16, 40), (40, 16), (16, 40))]
    ours, theirs = ([torch.nn.Parameter(m.clone()) for m in start] for _ in range(2))
    optimizers = (
        Muon(ours, lr=0.1, weight_decay=0.1, dtype=torch.bfloat16),
        torch.optim.Muon(theirs, lr=0.1, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
    )
    for _ in range(4):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(a.shape, generator=generator)
            b.grad = a.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for a, b, m in zip(ours, theirs, start, strict=True):
        assert (a - b).norm() < 0.02 * (b - m).norm()


def test_muon_resumes_where_it_was_saved() -> None:
    p, q = (torch.nn.Parameter(torch.ones(4, 6)) for _ in range(2))
    first, second = (Muon([x], lr=0.1, weight_decay=0.0) for x in (p, q))
    p.grad = torch.randn(4, 6)
    first.step()
    second.load_state_dict(copy.deepcopy(first.state_dict()))  # a state shares its tensors
    q.data.copy_(p.data)
    p.grad = torch.randn(4, 6)
    q.grad = p.grad.clone()
    first.step()
    second.step()
    assert torch.equal(p, q)


def test_cpu_trains_in_the_format_that_it_multiplies_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    for seconds, expected in (({torch.bfloat16: 1.0, torch.float32: 2.0}, torch.bfloat16),
                              ({torch.bfloat16: 2.0, torch.float32: 1.0}, torch.float32)):  # fmt: skip
        monkeypatch.setattr(precision, "_seconds_per_product", seconds.__getitem__)
        assert precision.fastest_dtype(torch.device("cpu")) is expected
    assert precision.fastest_dtype(torch.device("cuda")) is torch.bfloat16


def test_on_cpus_only_computers_that_paint_patches_run_in_the_fastest_format(monkeypatch):
    monkeypatch.setattr(precision, "_seconds_per_product", lambda dtype: {torch.bfloat16: 1, torch.float32: 2}[dtype])
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert precision.running_dtype(cpu, paints_patches=True) is torch.bfloat16
    assert precision.running_dtype(cpu, paints_patches=False) is torch.float32
    assert precision.running_dtype(gpu, paints_patches=False) is torch.bfloat16


def test_products_are_really_timed() -> None:
    assert 0 < precision._seconds_per_product(torch.float32) < 60
