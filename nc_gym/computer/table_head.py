"""How a computer with a pointer says its next window table: which old row each row comes from, and what changes in it.

In: h_t, and the table before the event. Out: how likely each table after it is, and the likeliest. A row that moves is
one choice, not eleven: so rows are old rows, kept or changed, and boxes go with the pointer as a whole.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nc_gym.computer.config import NeuralComputerConfig
from nc_gym.computer.window_table import BOXES, CLASSES, NAMES, SIDES, WINDOW_WIDTH, WindowReader, hits

_KEPT = 6.0  # what speaks for every window staying as it is before anything is learned
_TWICE = -1e4  # what speaks against a window that is twice: more than all else, and -inf would make all such alike
_MODES = ("kept", "along", "grown", "normal", "free")  # what a box may do, as a whole
_STEPS = (1, 2, 3, 4)  # tiles by which a box may grow: some windows grow by whole characters
_GROWTHS = 2 * len(_STEPS) + 1  # across, and down: its far side goes in such steps, its near side does, or neither


@dataclass
class TableOdds:
    """How likely each table after an event is, for M events: every row is an old row, kept or changed.

    A table's likelihood is the sum over the ways in which its rows may come from old rows of the product over rows and
    their parts, each as likely as it is for a row that comes from there: each name is kept or new; the box does one of
    ``_MODES`` as a whole; the normal box is kept or is the new box.
    """

    before: Tensor  # (M, K, FIELDS) the table before
    gone: Tensor  # (M, K, 2) where the boxes were at the last event with a button, gone as far as the pointer since
    grown: Tensor  # (M, K, 2, GROWTHS, 2) places and sizes across, and down, that growing as far may have led to
    way: Tensor  # (M, W) which old row each row comes from, as in ``_ways``, log probabilities
    fresh: Tensor  # (M, K, K, 7) whether a name, or a side of a box that is free, is new, probabilities
    mode: Tensor  # (M, K, K, MODES) log probabilities
    growth: Tensor  # (M, K, K, 2, GROWTHS) how it grows across, and down, probabilities
    settled: Tensor  # (M, K, K) whether the normal box is the box, probabilities
    new: Tensor  # (M, K, 7, CLASSES) new values of names and sides, probabilities

    def log_likelihood(self, table: Tensor) -> Tensor:
        """Returns the log likelihood of the tables (M, K, FIELDS), float32 (M,)."""
        return (self.way + _of_ways(self.of_origins(table[:, :, None]))).logsumexp(-1)

    def of_origins(self, row: Tensor) -> Tensor:
        """Returns how likely each row (axis 1) is if it comes from each old row (axis 2), log likelihoods.

        Args:
            row: its values, the same for all origins, (M, K, 1, FIELDS), or other ones for each, (M, K, K, FIELDS).
        """
        old = self.before[:, None]
        name, box, normal = row.split([NAMES, SIDES, SIDES], -1)
        _, old_box, old_normal = old.split([NAMES, SIDES, SIDES], -1)
        place, size = box.split(2, -1)
        said = row[..., : NAMES + SIDES]
        drawn = self.fresh * self.new[:, :, None].expand(*said.shape, -1).gather(-1, said[..., None])[..., 0]
        either = (drawn + (1 - self.fresh) * (said == old[..., : NAMES + SIDES]) + 1e-9).log()  # (M, K, K, 7)
        extent = torch.stack([place, size], -1)[..., None, :]  # across, and down
        grown = (self.growth * (extent == self.grown[:, None]).all(-1)).sum(-1)  # (M, K, K, 2)
        possible = torch.stack([
            _log(box == old_box),
            _log(torch.cat([place == self.gone[:, None], size == old_box[..., 2:]], -1)),
            (grown + 1e-9).log().sum(-1),
            _log(box == old_normal),
            either[..., NAMES:].sum(-1),
        ], -1)  # as in _MODES  # fmt: skip
        boxed = (possible + self.mode).logsumexp(-1)
        settled = (1 - self.settled) * (normal == old_normal).all(-1) + self.settled * (normal == box).all(-1)
        shown = boxed + either[..., 1:NAMES].sum(-1) + (settled + 1e-6).log()
        return either[..., 0] + shown.where(name[..., 0] > 0, 0.0)  # of an absent window there is no more to say

    @torch.no_grad()
    def table(self) -> Tensor:
        """Returns the likeliest table in which no window is twice, of those whose rows are in ``rows``.

        Tasks that were numbered from 0 without a gap still are, in the order that they had: when one ends, those behind
        it move up. But of a full table one may have dropped out that is still open, and keeps its number.
        """
        rows, k = self.rows(), self.before.shape[1]
        total = self.way + _of_ways(self.of_origins(rows))
        gapless = (_numbered(self.before) == self.before).flatten(1).all(1)
        rows = torch.where(gapless[:, None, None, None], self._with_old_tasks(rows), rows)
        ways, number = _ways(k).to(rows.device), torch.arange(k, device=rows.device)
        first = (rows[:, :, :, None] == rows[:, :, None]).all(-1).int().argmax(-1)  # (M, K, K) of those that are alike
        alike = (first[:, number, ways] * k ** number.flip(0)).sum(-1)  # (M, W) the first way to the same table
        odds = (total - total.max(-1, keepdim=True).values).exp()
        odds = torch.zeros_like(odds).scatter_add(1, alike, odds)
        tables = rows[:, number, ways]  # (M, W, K, FIELDS)
        name = torch.where(tables[..., 0] > 0, tables[..., 1] * CLASSES + tables[..., 2], -1 - number)  # (M, W, K)
        twice = (name[..., None] == name[..., None, :]).sum((-1, -2)) > k
        best = (odds.clamp(min=1e-30).log() + _TWICE * twice).argmax(-1)
        table = tables[torch.arange(len(tables), device=rows.device), best]
        full = (self.before[..., 0] > 0).all(1) & (table[..., 0] > 0).all(1)
        return torch.where((gapless & ~full)[:, None, None], _numbered(table), table)

    def _with_old_tasks(self, rows: Tensor) -> Tensor:
        """Returns ``rows`` whose windows have the tasks that they had: a row's likeliest may be another's, too."""
        old = self.before[:, None]
        new = (self.before[..., 0] > 0).sum(-1)[:, None, None]  # the task of a window that has just opened
        stays = (rows[..., 0] > 0) & (old[..., 0] > 0) & (rows[..., 1] == old[..., 1]) & (rows[..., 2] < new)
        task = torch.where(stays, old[..., 2], rows[..., 2])
        return torch.cat([rows[..., :2], task[..., None], rows[..., 3:]], -1)

    def rows(self) -> Tensor:
        """Returns of each row the likeliest value of each part if it comes from each old row, (M, K, K, FIELDS)."""
        old = self.before[:, None].expand(-1, self.before.shape[1], -1, -1)
        kept, normal = old[..., : NAMES + SIDES], old[..., NAMES + SIDES :]
        new, fresh = self.new[:, :, None], self.fresh
        top, value = new.max(-1)  # (M, K, 1, 7)
        again = new.expand(*kept.shape, -1).gather(-1, kept[..., None])[..., 0]
        name, free = torch.where(fresh * top > 1 - fresh + fresh * again, value, kept).split([NAMES, SIDES], -1)
        box = kept[..., NAMES:]
        size = box[..., 2:]
        by = self.growth.argmax(-1)[..., None, None].expand(*size.shape, 1, 2)
        grown = self.grown[:, None].expand(*size.shape, -1, -1).gather(-2, by)[..., 0, :].mT.flatten(-2)
        along = torch.cat([self.gone[:, None].expand_as(size), size], -1)
        boxes = torch.stack([box, along, grown, normal, free], -2)  # (M, K, K, MODES, 4)
        agreed = (boxes[..., None, :] == boxes[..., None, :, :]).all(-1)  # modes that come to the same box
        best = (agreed * self.mode.exp()[:, :, :, None]).sum(-1).argmax(-1)
        box = boxes.gather(-2, best[..., None, None].expand(*best.shape, 1, SIDES))[..., 0, :]
        normal = torch.where(self.settled[..., None] > 0.5, box, normal)
        return torch.cat([name, box, normal], -1).where(name[..., :1] > 0, 0)


def _grown(table: Tensor, held: Tensor, since: Tensor) -> Tensor:
    """Returns places and sizes across, and down, of boxes of which a side went with the pointer (M, K, 2, GROWTHS, 2).

    Args:
        table: before the event, (M, K, FIELDS).
        held: the boxes when a button did something last, (M, K, 4).
        since: columns and rows by which the pointer moved since then, (M, 2).
    """
    steps = torch.tensor(_STEPS, device=held.device)
    went = since[:, None, :, None].div(steps, rounding_mode="trunc") * steps  # (M, 1, 2, STEPS)
    (place, size), (old_place, old_size) = held.split(2, -1), table[..., BOXES].split(2, -1)
    far = torch.stack(torch.broadcast_tensors(old_place[..., None], size[..., None] + went), -1)
    near = torch.stack([place[..., None] + went, size[..., None] - went], -1)
    neither = torch.stack([old_place, old_size], -1)[..., None, :]
    return torch.cat([far, near, neither], -2).clamp(0, CLASSES - 1)


def _numbered(table: Tensor) -> Tensor:
    """Returns tables (M, K, FIELDS) whose tasks are numbered from 0 in the order that they have."""
    there, task = table[..., 0] > 0, table[..., 2]
    earlier = (there[:, None] & (task[:, None] < task[..., None])).sum(-1)
    return torch.cat([table[..., :2], earlier.where(there, task)[..., None], table[..., 3:]], -1)


@functools.cache
def _ways(rows: int) -> Tensor:
    """Returns all ways in which rows may come from old rows, (W, K): the number of each row's old row."""
    with torch.inference_mode(False):  # it is kept, and training may need it too
        return torch.cartesian_prod(*[torch.arange(rows)] * rows).view(-1, rows)


def _of_ways(origins: Tensor) -> Tensor:
    """Sums what speaks for each row's origin (M, K, K) up for each of the ways: (M, W)."""
    chosen = F.one_hot(_ways(origins.shape[1]), origins.shape[1]).flatten(1).to(origins)  # (W, K * K)
    return origins.flatten(1) @ chosen.T


def _log(right: Tensor) -> Tensor:
    """Returns 0 where all of (..., n) is right and -inf elsewhere."""
    return torch.zeros(right.shape[:-1], device=right.device).masked_fill(~right.all(-1), -torch.inf)


class TableHead(nn.Module):
    """Reads the table after an event off h_t and the windows before it."""

    def __init__(self, config: NeuralComputerConfig) -> None:
        super().__init__()
        self.config, self.rows, said = config, config.windows, NAMES + SIDES
        self.sizes = [1, said, len(_MODES), 2 * _GROWTHS, 1]
        self.new = nn.Linear(config.width, self.rows * said * CLASSES)
        self.source = nn.Linear(config.width, self.rows**2 * sum(self.sizes))
        self.window = WindowReader()
        self.ask = nn.Linear(config.width, self.rows * WINDOW_WIDTH, bias=False)  # which window, by what it is like
        self.way = nn.Linear(config.width, self.rows**self.rows)  # what the rows together speak for
        for layer in (self.new, self.source, self.way):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.ask.weight)
        origin, fresh, mode, _, settled = self.parts(self.source.bias.data)
        origin += _KEPT * torch.eye(self.rows)
        mode[..., 0] += _KEPT
        fresh -= _KEPT
        settled -= _KEPT

    def parts(self, said: Tensor) -> tuple[Tensor, ...]:
        """Returns of each row (axis 1) by its old row (axis 2) what speaks for that, fresh, mode, growth and settled.

        Args:
            said: what ``source`` says, (..., n).
        """
        origin, *rest = said.unflatten(-1, (self.rows, self.rows, -1)).split(self.sizes, -1)
        return origin[..., 0], *rest

    def forward(self, h: Tensor, table: Tensor, pointer: Tensor, held: Tensor, since: Tensor) -> TableOdds:
        """Returns how likely each table after the event is.

        Args:
            h: (M, d).
            table: before the event, (M, K, FIELDS).
            pointer: its column and row after the event, (M, 2).
            held: the boxes when a button did something last, (M, K, 4).
            since: columns and rows by which the pointer moved since then, (M, 2).
        """
        origin, fresh, mode, growth, settled = self.parts(self.source(h).float())
        windows = self.window(table, pointer, hits(table, pointer, self.config))
        origin = origin + (self.ask(h).unflatten(-1, (self.rows, -1)) @ windows.mT).float()
        return TableOdds(
            before=table,
            gone=(held[..., :2] + since[:, None]).clamp(0, CLASSES - 1),
            grown=_grown(table, held, since),
            way=(self.way(h).float() + _of_ways(origin)).log_softmax(-1),
            fresh=fresh.sigmoid(),
            mode=mode.log_softmax(-1),
            growth=growth.unflatten(-1, (2, -1)).softmax(-1),
            settled=settled[..., 0].sigmoid(),
            new=self.new(h).float().unflatten(-1, (self.rows, -1, CLASSES)).softmax(-1),
        )
