"""The window table: what a recording's window lists become, and the network that keeps it."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from tiny_desktop import random_events, tiny_config, tiny_desktop, write_shard

from nc_gym.computer import patch_batches, window_table
from nc_gym.computer.patch_batches import PatchData
from nc_gym.computer.window_table import (
    BOXES,
    CLASSES,
    EDGE,
    FIELDS,
    TableHead,
    TableOdds,
    TableReader,
    hits,
    name_sides,
)
from nc_gym.machines.window import Window
from nc_gym.traces.desktop_dataset import window_tables
from nc_gym.traces.desktop_trace import DesktopTrace

CONFIG = tiny_config()


def window(title: str, task: int, x: int = 48, active: bool = False, minimized: bool = False, normal=None) -> Window:
    return Window(title, x, 60, 100, 80, minimized, active, task, normal)


def test_a_table_tells_of_the_windows_from_the_top_down_and_lasts_until_the_next():
    trace = DesktopTrace({}, [(0, 0, 0)], events=[(0, 0, 0, 0)] * 4)
    trace.windows[1] = [window("Calc", 2), window("Term", 0, minimized=True), window("Edit", 1, -40, active=True)]
    trace.windows[3] = [window("mine", 0, normal=(8, 24, 60, 40))]
    tables = window_tables(trace)
    assert not tables[0].any() and (tables[1] == tables[2]).all()
    box, left = [48, 60, 100, 80], [-40, 60, 100, 80]
    expected = [[2, 3, 1, *left, *left], [3, 2, 2, *box, *box], [1, 1, 0, *box, *box], [0] * len(FIELDS)]
    assert tables[1].tolist() == expected  # recordings without normal boxes: none is maximised
    # On top, but without the keyboard; no launcher opens it; maximised.
    assert tables[3, 0].tolist() == [3, 0, 0, *box, 8, 24, 60, 40]


def test_of_many_windows_those_on_top_are_kept():
    trace = DesktopTrace({}, [(0, 0, 0)], events=[(0, 0, 0, 0)])
    trace.windows[0] = [window("Term", task, minimized=task == 5) for task in range(6)]
    assert window_tables(trace)[0, :, 2].tolist() == [4, 3, 2, 1]


def test_boxes_are_counted_in_tiles_and_those_far_off_the_screen_are_alike():
    table = np.array([[2, 1, 5, -300, 60, 900, 63, -8, 24, 64, 40], [0] * len(FIELDS)], np.int16)
    named = [2, 1, 5, 0, EDGE + 15, CLASSES - 1, 15, EDGE - 2, EDGE + 6, 16, 10]
    assert name_sides(table, 4).tolist() == [named, [0] * len(FIELDS)]


def random_tables(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(4, 60, (count, CONFIG.windows, len(FIELDS)), generator=generator)


@pytest.fixture
def table() -> torch.Tensor:
    return random_tables(3, seed=0)


def speaks_of(head: TableHead) -> tuple[torch.Tensor, ...]:
    """What speaks for each part of a table at first: origin, fresh, mode, step, settled."""
    return head.source.bias.data.view(CONFIG.windows, -1).split(head.parts, -1)


def test_before_training_a_table_stays_as_it_is_and_tells_nothing(table):
    since = torch.tensor([[3, -2], [0, 0], [70, 50]])
    h, held = torch.randn(3, CONFIG.width), torch.zeros_like(table[..., BOXES])
    assert torch.equal(TableHead(CONFIG)(h, table, since.abs(), held, since).table(), table)
    assert not TableReader(CONFIG)(table, since.abs()).any()


def test_rows_can_change_places_and_boxes_go_or_grow_with_the_pointer_or_go_back(table):
    head, h, since = TableHead(CONFIG), torch.randn(3, CONFIG.width), torch.tensor([[3, -2], [9, 9], [-70, 70]])
    pointer, went = torch.zeros(3, 2, dtype=torch.int64), since[:, None]
    held = random_tables(3, seed=5)[..., BOXES]  # not where they are now: a window was maximised when it was taken
    origin, _, mode, step, settled = speaks_of(head)
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
    step.view(CONFIG.windows, 2, 4)[:, 0, 1] = step.view(CONFIG.windows, 2, 4)[:, 1, 3] = 9.0  # by 2 across, 4 down
    steps = torch.tensor([[2, 0], [8, 8], [-70, 68]])[:, None]
    grown = (large + steps).clamp(0, CLASSES - 1)
    assert torch.equal(said(2), torch.cat([place, grown], -1))
    assert torch.equal(said(3), table[..., 7:])
    settled[:] = 9.0
    mode[:] = 9.0 * torch.eye(5)[1]
    after = head(h, table, pointer, held, since).table()
    assert torch.equal(after[..., 7:], after[..., 3:7]) and not torch.equal(after[..., 7:], table[..., 7:])


def of_origins(odds: TableOdds) -> torch.Tensor:
    """Returns how likely each row (axis 1) comes from each old row (axis 2), log probabilities."""
    ways, k = window_table._ways(CONFIG.windows), range(CONFIG.windows)
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
        grown = {(*place, size[0] + x, size[1]) for x in (0, 1)}  # by steps of 1, or of more than the pointer went
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
    origin, fresh, mode, _, settled = speaks_of(head)
    origin[:] = 99.0 * torch.eye(CONFIG.windows)
    origin[0] = torch.tensor([9.0, 9.0, 0.0, 0.0])  # the top one is either of two
    for each, least in ((fresh, -99.0), (settled, -99.0), (mode[:, 1:], -99.0)):
        each[:] = least  # nothing else is in question
    odds = head(h, table, still, table[..., BOXES], still)
    mixed = table.clone()
    mixed[:, 0, :3] = table[:, 1, :3]
    either = odds.log_likelihood(table), odds.log_likelihood(table[:, [1, 1, 2, 3]])
    assert torch.allclose(either[0].exp(), torch.tensor(0.5), atol=1e-2)
    assert torch.allclose(either[1].exp(), torch.tensor(0.5), atol=1e-2)
    assert (odds.log_likelihood(mixed) < -10).all()


def test_no_window_is_twice_in_the_likeliest_table_and_rows_may_agree_on_their_origins(table):
    head, h, still = TableHead(CONFIG), torch.zeros(3, CONFIG.width), torch.zeros(3, 2, dtype=torch.int64)
    origin = speaks_of(head)[0]
    origin[:2] = torch.tensor([[5.0, 9.0, 0.0, 0.0], [8.0, 8.5, 0.0, 0.0]])  # each by itself would be the second
    assert torch.equal(head(h, table, still, table[..., BOXES], still).table(), table[:, [1, 0, 2, 3]])
    absent = table.clone()
    absent[:, :2, 0] = 0  # where there is no window, rows may well be alike
    said = head(h, absent, still, absent[..., BOXES], still).table()
    assert torch.equal(said[:, :2], torch.zeros_like(table[:, :2]))
    swapped = (window_table._ways(CONFIG.windows) == torch.tensor([2, 3, 0, 1])).all(-1)
    head.way.bias.data[swapped] = 99.0
    assert torch.equal(head(h, table, still, table[..., BOXES], still).table(), table[:, [2, 3, 0, 1]])


def test_ways_to_the_same_table_count_together():
    """A new window comes from no old row in particular, so many ways lead to it."""
    head, h, still = TableHead(CONFIG), torch.zeros(1, CONFIG.width), torch.zeros(1, 2, dtype=torch.int64)
    old = torch.zeros(1, CONFIG.windows, len(FIELDS), dtype=torch.int64)
    old[0, 0] = torch.tensor([2, 1, 0, 70, 70, 5, 5, 70, 70, 5, 5])
    origin = speaks_of(head)[0]
    origin[0] = torch.tensor([0.5, 0.0, 0.0, 0.0])  # likelier there than from any empty row, but not than from all
    assert not head(h, old, still, old[..., BOXES], still).table().any()


def test_where_a_window_is_twice_whatever_comes_from_where_the_likeliest_table_is_still_taken(table):
    head, h, still = TableHead(CONFIG), torch.zeros(3, CONFIG.width), torch.zeros(3, 2, dtype=torch.int64)
    table[..., 1:3] = 7  # all rows are called alike, which only a mistake can bring about
    assert torch.equal(head(h, table, still, table[..., BOXES], still).table(), table)


def tasks(*numbers: int) -> torch.Tensor:
    """A table of windows with these tasks, one below the other, and nothing in the rows that are left."""
    table = torch.zeros(1, CONFIG.windows, len(FIELDS), dtype=torch.int64)
    for row, number in enumerate(numbers):
        table[0, row] = torch.tensor([3, 1, number, *[EDGE + 2, EDGE + 2, 5, 5] * 2])
    return table


@pytest.mark.parametrize("before, after", [((1, 0, 2), (0, 1)), ((0, 2, 1), (0, 1)), ((1, 0, 4), (1, 4))])
def test_the_tasks_behind_one_that_ends_move_up_unless_there_were_gaps_before(before, after):
    head, h, still = TableHead(CONFIG), torch.zeros(1, CONFIG.width), torch.zeros(1, 2, dtype=torch.int64)
    ends = torch.tensor([0, 2, 3, 3])  # the window in the second row closes
    head.way.bias.data[(window_table._ways(CONFIG.windows) == ends).all(-1)] = 99.0
    table = tasks(*before)
    assert torch.equal(head(h, table, still, table[..., BOXES], still).table(), tasks(*after))


def test_the_pointer_is_on_the_topmost_of_the_windows_that_lie_there_frames_and_all():
    config, table = dataclasses.replace(CONFIG, frame=(1, 4, 1, 2)), tasks(0, 1, 2)
    table[0, :, 3] += torch.tensor([0, 3, 3, 0])  # the two lower ones lie three columns further right
    table[0, 2, 0] = 1  # minimised
    for at, expected in (
        ((0, 0), [0, 0, 0, 0]), ((1, 0), [2, 0, 0, 0]), ((4, 3), [2, 1, 0, 0]), ((7, 8), [2, 1, 0, 0]),
        ((8, 8), [0, 2, 0, 0]), ((7, 9), [0, 0, 0, 0]), ((10, 8), [0, 2, 0, 0]), ((11, 8), [0, 0, 0, 0]),
    ):  # fmt: skip
        assert hits(table, torch.tensor([at]), config).tolist() == [expected]


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
        of_origins(head(h, t, still, t[..., BOXES], still)) - speaks_of(head)[0] for t in (table, table[:, order])
    )
    assert torch.allclose(origin[..., order].softmax(-1), other.softmax(-1), atol=1e-4)


def test_a_window_that_is_absent_looks_alike_from_everywhere():
    reader = tiny_desktop().network.told
    table, places = torch.zeros(2, CONFIG.windows, len(FIELDS), dtype=torch.int64), torch.tensor([[3, 4], [15, 9]])
    nowhere = reader(table, places)
    assert torch.equal(nowhere[0], nowhere[1])
    table[:, 0] = torch.tensor([2, 1, 0, 70, 70, 5, 5, 70, 70, 5, 5])
    somewhere = reader(table, places)
    assert not torch.equal(somewhere[0], somewhere[1])


def test_a_batch_holds_the_table_before_and_after_each_event(tmp_path):
    rng = np.random.default_rng(0)
    events, windows = random_events(rng, 2, 5), rng.integers(1, 60, (2, 5, 4, len(FIELDS)))
    frames, network = np.zeros((2, 6, CONFIG.num_tiles), np.int64), tiny_desktop().network
    shard = write_shard(tmp_path / "shard-00000.npz", network, frames, events, np.zeros((2, 6), np.int64), windows)
    batch = PatchData([shard], network, 1000, workers=1).batch([0, 1], 4, torch.Generator().manual_seed(0))
    assert (batch["windows"].numpy() == name_sides(windows, 4)).all()
    assert torch.equal(batch["windows_in"][:, 1:], batch["windows"][:, :-1]) and not batch["windows_in"][:, 0].any()


def test_what_was_held_is_what_stood_there_after_the_last_event_with_a_button():
    """Training and the running computer agree on it: rows play a session; a batch is made of what they said."""
    rng, computer = np.random.default_rng(0), tiny_desktop()
    events = random_events(rng, 2, 30)
    events[..., 2] *= rng.random((2, 30)) < 0.3
    state = computer.boot(torch.arange(2), torch.zeros(2, dtype=torch.int64))
    held, held_at, said = [], [], [torch.zeros_like(state.windows)]
    for t in range(30):
        held.append(state.held.clone())
        held_at.append(state.held_at.clone())
        computer.step(state, torch.from_numpy(events[:, t]))
        said.append(state.windows.clone())
    known = torch.stack(said, 1)[:, :-1].numpy()
    assert len(np.unique(known)) > 10
    for row in range(2):
        boxes, at = patch_batches._held(known[row].astype(np.uint8), events[row])
        assert (boxes == torch.stack(held, 1)[row].numpy()).all() and boxes.any()
        assert (at == torch.stack(held_at, 1)[row].numpy()).all()


def test_in_training_a_table_may_have_missed_a_change_for_a_few_events(monkeypatch):
    monkeypatch.setattr(patch_batches, "MISSED", 1.0)
    said = np.repeat(np.arange(1, 5, dtype=np.uint8), 10)[:, None, None] * np.ones((4, len(FIELDS)), np.uint8)
    known = patch_batches._known_tables(said, np.random.default_rng(0))[:, 0, 0]
    true = np.concatenate([[0], said[:-1, 0, 0]])
    late = known != true
    assert (known[late] == true[late] - 1).all()  # what stood there before the change
    assert set(np.flatnonzero(late) // 10) == {0, 1, 2, 3} and 4 <= late.sum() <= 4 * patch_batches.RECENT
    assert (patch_batches._known_tables(said, None)[:, 0, 0] == true).all()


def test_what_the_table_says_changes_what_is_painted():
    computer, events = tiny_desktop(), torch.from_numpy(random_events(np.random.default_rng(0), 6, 20))
    shown = []
    for state_of_first in (0, 2):
        state = computer.boot(torch.arange(6), torch.zeros(6, dtype=torch.int64))
        with torch.inference_mode():
            state.windows[:, 0] = torch.tensor([state_of_first, 1, 0, 70, 70, 5, 5, 70, 70, 5, 5])
        for t in range(20):
            computer.step(state, events[:, t])
        shown.append(state.codes.clone())
    assert (shown[0] != shown[1]).any(1).sum() > 1
