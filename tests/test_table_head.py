"""The head that says the next window table: rows that come from old rows, and what becomes of them."""

from __future__ import annotations

import itertools

import pytest
import torch
from tiny_desktop import table_of, tiny_config

from nc_gym.computer import table_head
from nc_gym.computer.table_head import TableHead, TableOdds
from nc_gym.computer.window_table import BOXES, CLASSES, FIELDS, TableReader

CONFIG = tiny_config()


def random_tables(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(4, 60, (count, CONFIG.windows, len(FIELDS)), generator=generator)


@pytest.fixture
def table() -> torch.Tensor:
    return random_tables(3, seed=0)


def test_before_training_a_table_stays_as_it_is_and_tells_nothing(table):
    since = torch.tensor([[3, -2], [0, 0], [70, 50]])
    h, held = torch.randn(3, CONFIG.width), torch.zeros_like(table[..., BOXES])
    assert torch.equal(TableHead(CONFIG)(h, table, since.abs(), held, since).table(), table)
    assert not TableReader(CONFIG)(table, since.abs()).any()


def test_rows_can_change_places_and_boxes_go_or_grow_with_the_pointer_or_go_back(table):
    head, h, since = TableHead(CONFIG), torch.randn(3, CONFIG.width), torch.tensor([[3, -2], [9, 9], [-70, 70]])
    pointer, went = torch.zeros(3, 2, dtype=torch.int64), since[:, None]
    held = random_tables(3, seed=5)[..., BOXES]  # not where they are now: a window was maximised when it was taken
    origin, _, mode, growth, settled = head.parts(head.source.bias.data)
    origin[:] = 9.0 * torch.eye(CONFIG.windows)[[2, 0, 1, 3]]  # the third window comes to the front
    assert torch.equal(head(h, table, pointer, held, since).table(), table[:, [2, 0, 1, 3]])
    origin[:] = 9.0 * torch.eye(CONFIG.windows)

    def said(kind: int) -> torch.Tensor:
        mode[:] = 9.0 * torch.eye(5)[kind]
        found = head(h, table, pointer, held, since).table()
        assert torch.equal(found[..., :3], table[..., :3]) and torch.equal(found[..., 7:], table[..., 7:])
        return found[..., 3:7]

    (place, size), (taken, large) = (each.split(2, -1) for each in (table[..., BOXES], held))
    assert torch.equal(said(1), torch.cat([(taken + went).clamp(0, CLASSES - 1), size], -1))
    growth = growth.unflatten(-1, (2, -1))
    growth[..., 0, 1] = growth[..., 1, 3] = 9.0  # the far sides go: in steps of 2 across, of 4 down
    steps = torch.tensor([[2, 0], [8, 8], [-70, 68]])[:, None]
    grown = (large + steps).clamp(0, CLASSES - 1)
    assert torch.equal(said(2), torch.cat([place, grown], -1))
    growth[..., 0, 1], growth[..., 0, 8], growth[..., 1, 3], growth[..., 1, 5] = 0.0, 9.0, 0.0, 9.0
    steps = torch.tensor([-2, 8, 70])[:, None]  # its upper side goes, in steps of 2, and neither its left nor its right
    upper, height = (taken[..., 1] + steps).clamp(0, CLASSES - 1), (large[..., 1] - steps).clamp(0, CLASSES - 1)
    assert torch.equal(said(2), torch.stack([place[..., 0], upper, size[..., 0], height], -1))
    assert torch.equal(said(3), table[..., 7:])
    settled[:] = 9.0
    mode[:] = 9.0 * torch.eye(5)[1]
    after = head(h, table, pointer, held, since).table()
    assert torch.equal(after[..., 7:], after[..., 3:7]) and not torch.equal(after[..., 7:], table[..., 7:])


def of_origins(odds: TableOdds) -> torch.Tensor:
    """Returns how likely each row (axis 1) comes from each old row (axis 2), log probabilities."""
    ways, k = table_head._ways(CONFIG.windows), range(CONFIG.windows)
    each = [torch.stack([odds.way[:, ways[:, row] == old].logsumexp(-1) for old in k], -1) for row in k]
    return torch.stack(each, 1)


def random_odds(old: torch.Tensor) -> TableOdds:
    """Odds of the tables after ``old``, of which no part is certain."""
    head, h = TableHead(CONFIG), torch.randn(len(old), CONFIG.width, generator=torch.Generator().manual_seed(0))
    for layer in (head.source, head.new, head.way):
        torch.nn.init.normal_(layer.weight, std=0.02)
        torch.nn.init.zeros_(layer.bias)
    since = torch.tensor([[1, 0]]).expand(len(old), 2)
    return head(h, old, torch.zeros(len(old), 2, dtype=torch.int64), old[..., BOXES], since)


def test_the_likelihoods_of_all_tables_that_a_row_may_become_sum_to_one():
    torch.manual_seed(0)
    odds = random_odds(random_tables(1, seed=0))
    odds.new = torch.zeros_like(odds.new)
    odds.new[:, :, torch.arange(7), torch.tensor([2, 1, 3, 70, 70, 9, 9])] = 0.5  # two values of each, so few tables
    odds.new[:, :, torch.arange(7), torch.tensor([4, 5, 6, 80, 90, 7, 8])] = 0.5
    old = odds.before[0]
    values = [{v, w} | set(old[:, f].tolist()) for f, (v, w) in enumerate(zip((2, 1, 3), (4, 5, 6), strict=True))]
    names_seen = torch.cartesian_prod(*(torch.tensor(sorted(v)) for v in values))  # (n, 3)
    boxes = {*itertools.product((70, 80), (70, 90), (9, 7), (9, 8))}
    for row in old.tolist():
        place, size = row[3:5], row[5:7]
        # By steps of 1, or of more than the pointer went; of its left side, too.
        grown = {(*place, size[0] + x, size[1]) for x in (0, 1)} | {(place[0] + 1, place[1], size[0] - 1, size[1])}
        free = itertools.product((70, 80, place[0]), (70, 90, place[1]), (9, 7, size[0]), (9, 8, size[1]))
        boxes |= grown | {*free, tuple(row[7:]), (place[0] + 1, place[1], *size)}
    assert max(max(box) for box in boxes) < CLASSES
    kept = [tuple(row[7:]) for row in old.tolist()]
    total = 0.0
    for box in boxes:
        for normal in {*kept, box}:
            sides = torch.tensor([*box, *normal]).expand(len(names_seen), 8)
            rows = torch.cat([names_seen, sides], 1)[:, None].expand(-1, CONFIG.windows, -1)
            several = TableOdds(**{k: v.expand(len(rows), *v.shape[1:]) for k, v in vars(odds).items()})
            total += (of_origins(several) + several.of_origins(rows[:, :, None]))[:, 0].exp().sum().item()
    assert abs(total - 1) < 2e-5
    assert abs(odds.way.exp().sum().item() - 1) < 2e-5


def test_the_likeliest_table_is_the_likeliest_of_those_that_are_nearly_it():
    torch.manual_seed(0)
    odds = random_odds(random_tables(40, seed=1))
    best = odds.table()
    changed = best[None].repeat(CONFIG.windows, 1, 1, 1)  # each time another row
    for row in range(CONFIG.windows):
        changed[row, :, row, 5] += 1
    less = torch.stack([odds.log_likelihood(each) for each in changed]) < odds.log_likelihood(best)
    assert less.float().mean() > 0.95


def test_all_parts_of_a_row_come_from_one_window(table):
    head, h, still = TableHead(CONFIG), torch.zeros(3, CONFIG.width), torch.zeros(3, 2, dtype=torch.int64)
    origin, fresh, mode, _, settled = head.parts(head.source.bias.data)
    origin[:] = 99.0 * torch.eye(CONFIG.windows)
    origin[0] = torch.tensor([9.0, 9.0, 0.0, 0.0])  # the top one is either of two
    for each, least in ((fresh, -99.0), (settled, -99.0), (mode[..., 1:], -99.0)):
        each[:] = least  # nothing else is in question
    odds = head(h, table, still, table[..., BOXES], still)
    mixed = table.clone()
    mixed[:, 0, :3] = table[:, 1, :3]
    either = odds.log_likelihood(table), odds.log_likelihood(table[:, [1, 1, 2, 3]])
    assert torch.allclose(either[0].exp(), torch.tensor(0.5), atol=1e-2)
    assert torch.allclose(either[1].exp(), torch.tensor(0.5), atol=1e-2)
    assert (odds.log_likelihood(mixed) < -10).all()


def test_what_becomes_of_a_row_depends_on_where_it_comes_from(table):
    """A window that goes behind another is minimised; where the rows stay, none is."""
    head, h, still = TableHead(CONFIG), torch.zeros(3, CONFIG.width), torch.zeros(3, 2, dtype=torch.int64)
    origin, fresh, mode, _, settled = head.parts(head.source.bias.data)
    origin[:], fresh[:], mode[..., 1:], settled[:] = 0.0, -99.0, -99.0, -99.0
    fresh[1, 0, 0] = 99.0
    head.new.bias.data.view(CONFIG.windows, -1, CLASSES)[1, 0, 1] = 99.0
    swapped, kept = ((table_head._ways(CONFIG.windows) == torch.tensor(way)).all(-1) for way in (
        [1, 0, 2, 3], [0, 1, 2, 3],
    ))  # fmt: skip
    head.way.bias.data[swapped | kept] = 99.0
    odds, minimised = head(h, table, still, table[..., BOXES], still), table[:, [1, 0, 2, 3]]
    minimised[:, 1, 0] = 1
    mixed = table.clone()
    mixed[:, 1, 0] = 1
    assert (odds.log_likelihood(minimised) > -1).all() and (odds.log_likelihood(table) > -1).all()
    assert (odds.log_likelihood(mixed) < -10).all()


def test_no_window_is_twice_in_the_likeliest_table_and_rows_may_agree_on_their_origins(table):
    head, h, still = TableHead(CONFIG), torch.zeros(3, CONFIG.width), torch.zeros(3, 2, dtype=torch.int64)
    origin = head.parts(head.source.bias.data)[0]
    origin[:2] = torch.tensor([[5.0, 9.0, 0.0, 0.0], [8.0, 8.5, 0.0, 0.0]])  # each by itself would be the second
    assert torch.equal(head(h, table, still, table[..., BOXES], still).table(), table[:, [1, 0, 2, 3]])
    absent = table.clone()
    absent[:, :2, 0] = 0  # where there is no window, rows may well be alike
    said = head(h, absent, still, absent[..., BOXES], still).table()
    assert torch.equal(said[:, :2], torch.zeros_like(table[:, :2]))
    swapped = (table_head._ways(CONFIG.windows) == torch.tensor([2, 3, 0, 1])).all(-1)
    head.way.bias.data[swapped] = 99.0
    assert torch.equal(head(h, table, still, table[..., BOXES], still).table(), table[:, [2, 3, 0, 1]])


def test_ways_to_the_same_table_count_together():
    """A new window comes from no old row in particular, so many ways lead to it."""
    head, h, still = TableHead(CONFIG), torch.zeros(1, CONFIG.width), torch.zeros(1, 2, dtype=torch.int64)
    old = torch.zeros(1, CONFIG.windows, len(FIELDS), dtype=torch.int64)
    old[0, 0] = torch.tensor([2, 1, 0, 70, 70, 5, 5, 70, 70, 5, 5])
    origin = head.parts(head.source.bias.data)[0]
    origin[0] = torch.tensor([0.5, 0.0, 0.0, 0.0])  # likelier there than from any empty row, but not than from all
    assert not head(h, old, still, old[..., BOXES], still).table().any()


def test_where_a_window_is_twice_whatever_comes_from_where_the_likeliest_table_is_still_taken(table):
    head, h, still = TableHead(CONFIG), torch.zeros(3, CONFIG.width), torch.zeros(3, 2, dtype=torch.int64)
    table[..., 1:3] = 7  # all rows are called alike, which only a mistake can bring about
    assert torch.equal(head(h, table, still, table[..., BOXES], still).table(), table)


@pytest.mark.parametrize("before, after", [((1, 0, 2), (0, 1)), ((0, 2, 1), (0, 1)), ((1, 0, 4), (1, 4))])
def test_the_tasks_behind_one_that_ends_move_up_unless_there_were_gaps_before(before, after):
    head, h, still = TableHead(CONFIG), torch.zeros(1, CONFIG.width), torch.zeros(1, 2, dtype=torch.int64)
    ends = torch.tensor([0, 2, 3, 3])  # the window in the second row closes
    head.way.bias.data[(table_head._ways(CONFIG.windows) == ends).all(-1)] = 99.0
    table = table_of(*before)
    assert torch.equal(head(h, table, still, table[..., BOXES], still).table(), table_of(*after))


def test_of_a_window_that_is_gone_nothing_but_that_counts(table):
    odds = random_odds(table)
    gone = torch.zeros_like(table)
    other = gone.clone()
    other[..., 1:] = 9
    assert torch.equal(odds.log_likelihood(gone), odds.log_likelihood(other))


def test_a_row_can_be_found_by_what_its_window_is_like(table):
    head, still = TableHead(CONFIG), torch.zeros(3, 2, dtype=torch.int64)
    torch.nn.init.normal_(head.ask.weight)
    h = torch.randn(3, CONFIG.width)
    order = [2, 0, 3, 1]
    origin, other = (
        of_origins(head(h, t, still, t[..., BOXES], still)) - head.parts(head.source.bias.data)[0]
        for t in (table, table[:, order])
    )
    assert torch.allclose(origin[..., order].softmax(-1), other.softmax(-1), atol=1e-4)


def says_task(head: TableHead, row: int, task: int) -> None:
    """Makes a head say that the task of a row is ``task``, wherever the row comes from."""
    _, fresh, *_ = head.parts(head.source.bias.data)
    fresh[row, :, 2] = 99.0
    head.new.bias.data.view(CONFIG.windows, -1, CLASSES)[row, 2, task] = 99.0


def test_a_window_that_stays_keeps_its_task_although_its_likeliest_one_is_another_s():
    head, still = TableHead(CONFIG), torch.zeros(1, 2, dtype=torch.int64)
    before = table_of(0, 1, 2)
    says_task(head, 0, 1)  # it would be twice, or both would get one number
    assert torch.equal(head(torch.zeros(1, CONFIG.width), before, still, before[..., BOXES], still).table(), before)


def test_a_window_that_drops_out_of_a_full_table_keeps_its_number():
    head, still = TableHead(CONFIG), torch.zeros(1, 2, dtype=torch.int64)
    before = table_of(0, 1, 2, 3)
    origin, _, *_ = head.parts(head.source.bias.data)
    origin[:] = 9.0 * torch.eye(CONFIG.windows)[[0, 0, 1, 2]]  # a fifth opens on top, the last one has no row left
    says_task(head, 0, 4)
    table = head(torch.zeros(1, CONFIG.width), before, still, before[..., BOXES], still).table()
    assert table[0, :, 2].tolist() == [4, 0, 1, 2]
