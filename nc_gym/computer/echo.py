"""The echo of a computer with a pointer: a part of the screen that an event shows once more elsewhere.

What a program answers often repeats what stands on the screen already, at another place: the name of a file that is
missing, a line of a file that was written a moment ago. As a video codec copies blocks within a frame (intra block
copy), h_t names one offset per event, and the painter may take any tile from that far away on the framebuffer. In: h_t
(A, d). Out: offsets (A, 2), rows and columns of tiles that what is copied goes down and right.

Recordings do not say what was copied. In training, ``find_offsets`` looks for the offset that shows most of what the
denoiser could not draw; fixed words it learns to draw, so they do not count.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nc_gym.computer.config import NeuralComputerConfig
from nc_gym.computer.patch_geometry import likeliest

FARTHEST = 16  # rows of tiles that an echo goes up or down: four lines of text
LEAST = 6.0  # tiles that the denoiser could not draw and an offset explains: more than one letter, less than two
_MOST_TILES = 64  # of an event, the hardest ones, that are asked where they come from
_EASY = 0.8  # a tile that is drawn with a higher probability counts for nothing, however many there are


@dataclass
class EchoOdds:
    """Logits of the offsets of A events."""

    down: Tensor  # (A, 2 FARTHEST + 1)
    right: Tensor  # (A, 2 columns - 1)

    def offset(self) -> Tensor:
        """Returns the likeliest offsets, rows and columns of tiles (A, 2)."""
        return likeliest(self.down, self.right)

    def log_likelihood(self, offset: Tensor) -> Tensor:
        """Returns the log likelihood (A,) of offsets (A, 2), float32."""
        both = zip((self.down, self.right), offset.unbind(1), strict=True)
        ce = [F.cross_entropy(x.float(), y + x.shape[-1] // 2, reduction="none") for x, y in both]
        return -(ce[0] + ce[1])


class EchoHead(nn.Module):
    """One linear reading of h_t."""

    def __init__(self, config: NeuralComputerConfig) -> None:
        super().__init__()
        self.sizes = [2 * FARTHEST + 1, 2 * config.tile_columns - 1]
        self.read = nn.Linear(config.width, sum(self.sizes))

    def forward(self, h: Tensor) -> EchoOdds:
        """Reads h (A, d)."""
        return EchoOdds(*self.read(h).split(self.sizes, -1))


def find_offsets(
    screens: Tensor, event: Tensor, row: Tensor, column: Tensor, target: Tensor, drawn: Tensor, share: Tensor
) -> tuple[Tensor, Tensor]:
    """Finds for each event the offset that shows most of what the denoiser could not draw.

    Args:
        screens: codes before the events, (A, tile rows, tile columns).
        event: which event each of Q tiles belongs to, (Q,).
        row: of the tiles, (Q,).
        column: (Q,).
        target: what they became, codes (Q,).
        drawn: the probability with which each would be drawn, (Q,).
        share: of its event's tiles like it that are among the Q; each counts for all of them, (Q,).

    Returns:
        Offsets (A, 2), and whether they show at least LEAST tiles, (A,).
    """
    A, wide = len(screens), screens.shape[2] - 1
    hard = torch.where(drawn < _EASY, 1 - drawn.float(), 0) / share
    offset, found = event.new_zeros(A, 2), torch.zeros(A, dtype=torch.bool, device=event.device)
    total = torch.zeros(A, device=event.device).index_add(0, event, hard)
    for a in torch.nonzero(total >= LEAST)[:, 0].tolist():
        mine = torch.nonzero(event == a)[:, 0]
        mine = mine[hard[mine].topk(min(_MOST_TILES, len(mine))).indices]
        padded = F.pad(screens[a], (wide, wide, FARTHEST, FARTHEST), value=-1)
        views = padded.unfold(0, 2 * FARTHEST + 1, 1).unfold(1, 2 * wide + 1, 1)  # (rows, columns, ...) around each
        shown = (views[row[mine], column[mine]] == target[mine, None, None]) * hard[mine, None, None]
        shown = shown.sum(0)
        best = int(shown.argmax())
        above, left = best // (2 * wide + 1), best % (2 * wide + 1)
        offset[a, 0], offset[a, 1] = FARTHEST - above, wide - left
        found[a] = shown[above, left] >= LEAST
    return offset, found
