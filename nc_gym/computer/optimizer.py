"""Mixed-precision optimisation: weights that compute in the device's fastest format, float32 masters that learn.

Hidden matrices learn with Muon (orthogonalised momentum), everything else with AdamW. Where bf16 is fast, a bf16
network without autocast halves the memory traffic of a step; on CPUs that is most of its cost.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nc_gym.computer.muon import Muon

State = dict[str, object]


class MasterOptimizer:
    """Muon + AdamW on float32 copies of a network's parameters.

    Args:
        net: network whose parameters are bf16 or float32.
        lr: peak learning rate; Muon's updates are matched to the size of AdamW's.
    """

    def __init__(self, net: nn.Module, lr: float) -> None:
        self.pairs = [(p, p.detach().float().clone()) for p in net.parameters()]
        hidden: list[Tensor] = []
        other: list[Tensor] = []
        for name, p in net.named_parameters():
            master = self.pairs[len(hidden) + len(other)][1]
            in_trunk = name.endswith(("qkv.weight", "out.weight", "up.weight", "down.weight", "slots.weight")) or any(
                part in name for part in (".ups.", ".downs.", "gaze.query", "gaze_encoder.project")
            )
            (hidden if in_trunk and p.dim() == 2 else other).append(master)
        self.optimizers: list[torch.optim.Optimizer] = [
            Muon(hidden, lr=lr, weight_decay=0.01, dtype=self.pairs[0][0].dtype),
            torch.optim.AdamW(other, lr=lr, betas=(0.9, 0.98), weight_decay=0.0),
        ]
        self.peak = lr

    def step(self, scale: float, clip: float = 1.0) -> float:
        """Applies the gradients at ``scale`` of the peak rates, clears them, and returns their norm."""
        grads: list[Tensor] = []
        for p, master in self.pairs:
            master.grad = torch.zeros_like(master) if p.grad is None else p.grad.float()
            grads.append(master.grad)
            p.grad = None
        norm = torch.nn.utils.get_total_norm(grads)
        torch.nn.utils.clip_grads_with_norm_([m for _, m in self.pairs], clip, norm)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.peak * scale
            optimizer.step()
        with torch.no_grad():
            for p, master in self.pairs:
                p.copy_(master)
        return float(norm)

    def state_dict(self) -> State:
        """Returns the masters and both optimizers' states."""
        return {
            "masters": [master for _, master in self.pairs],
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }

    def load_state_dict(self, state: State) -> None:
        """Puts a ``state_dict`` back, the network's parameters included."""
        with torch.no_grad():
            for (p, master), saved in zip(self.pairs, state["masters"], strict=True):  # type: ignore[call-overload]
                master.copy_(saved)
                p.copy_(saved)
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):  # type: ignore[call-overload]
            optimizer.load_state_dict(saved)
