"""Muon: gradient descent whose steps are orthogonal matrices (Jordan et al. 2024, kellerjordan.github.io/posts/muon).

``torch.optim.Muon`` always multiplies in bf16, which a CPU without bf16 units emulates hundreds of times slower; here
the number format is a parameter, and matrices of one shape are orthogonalised together in one batched product.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor

_ITERATIONS = 5
_A, _B, _C = 3.4445, -4.7750, 2.0315  # the quintic of the post: steepest at 0, and bounded


def orthogonalize(m: Tensor) -> Tensor:
    """Brings every singular value near 1 by Newton-Schulz iterations; the singular vectors stay.

    Args:
        m: matrices (n, rows, columns).

    Returns:
        Matrices of the same shape and dtype; singular values of about 0.7 to 1.2.
    """
    wide = m.shape[1] <= m.shape[2]
    x = m if wide else m.mT
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    for _ in range(_ITERATIONS):  # x <- a x + b (x xT) x + c (x xT)^2 x
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    return x if wide else x.mT


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum for the hidden matrices of a network.

    Updates are scaled to the size of AdamW's, ``0.2 sqrt(max(rows, columns))`` (Liu et al. 2025, arXiv 2502.16982), so
    that both take one learning rate.

    Args:
        params: float32 matrices (rows, columns).
        lr: learning rate.
        weight_decay: share of a weight, times ``lr``, that a step takes away.
        momentum: share of the running mean of gradients that a step keeps.
        dtype: number format of the matrix products.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        weight_decay: float,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        self.dtype = dtype

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Applies the gradients of all parameters that have one."""
        for group in self.param_groups:
            of_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    of_shape[p.shape].append(p)
            for shape, params in of_shape.items():
                updates = orthogonalize(
                    torch.stack([self._direction(p, group["momentum"]) for p in params]).to(self.dtype)
                )
                torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
                size = 0.2 * max(shape) ** 0.5
                torch._foreach_add_(params, list(updates), alpha=-group["lr"] * size)

    def _direction(self, p: Tensor, momentum: float) -> Tensor:
        """Returns Nesterov's look ahead: the gradient mixed with the running mean that holds it already."""
        grad = p.grad
        assert grad is not None
        state = self.state[p]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(p)
        mean: Tensor = state["momentum_buffer"]
        mean.lerp_(grad, 1 - momentum)
        return grad.lerp(mean, momentum)
