"""The window table: what a recording's window lists become, and the network that keeps it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_desktop import random_events, tiny_config, tiny_desktop, write_shard

from nc_gym.computer import patch_batches
from nc_gym.computer.patch_batches import PatchData
from nc_gym.computer.window_table import CLASSES, EDGE, TableHead, TableOdds, TableReader, name_sides
from nc_gym.machines.window import Window
from nc_gym.traces.desktop_dataset import window_tables
from nc_gym.traces.desktop_trace import DesktopTrace

CONFIG = tiny_config()


def window(title: str, task: int, x: int = 48, active: bool = False, minimized: bool = False) -> Window:
    return Window(title, x, 60, 100, 80, minimized, active, task)


def test_a_table_tells_of_the_windows_from_the_top_down_and_lasts_until_the_next():
    trace = DesktopTrace({}, [(0, 0, 0)], events=[(0, 0, 0, 0)] * 4)
    trace.windows[1] = [window("Calc", 2), window("Term", 0, minimized=True), window("Edit", 1, -40, active=True)]
    trace.windows[3] = [window("mine", 0)]
    tables = window_tables(trace)
    assert not tables[0].any() and (tables[1] == tables[2]).all()
    sides = [48, 60, 148, 140]
    assert tables[1].tolist() == [[2, 3, 1, -40, 60, 60, 140], [3, 2, 2, *sides], [1, 1, 0, *sides], [0] * 7]
    assert tables[3, 0].tolist() == [3, 0, 0, *sides]  # on top, but without the keyboard; no launcher opens it


def test_of_many_windows_those_on_top_are_kept():
    trace = DesktopTrace({}, [(0, 0, 0)], events=[(0, 0, 0, 0)])
    trace.windows[0] = [window("Term", task, minimized=task == 5) for task in range(6)]
    assert window_tables(trace)[0, :, 2].tolist() == [4, 3, 2, 1]


def test_sides_are_counted_in_tiles_and_those_far_off_the_screen_are_alike():
    table = np.array([[2, 1, 5, -300, 60, 900, 63], [0, 0, 0, 0, 0, 0, 0]], np.int16)
    assert name_sides(table, 4).tolist() == [[2, 1, 5, 0, EDGE + 15, CLASSES - 1, EDGE + 15], [0] * 7]


@pytest.fixture
def table() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(1, 60, (3, CONFIG.windows, 7), generator=generator)


def test_before_training_a_table_stays_as_it_is_and_tells_nothing(table):
    moved = torch.tensor([[3, -2], [0, 0], [70, 50]])
    assert torch.equal(TableHead(CONFIG)(torch.randn(3, CONFIG.width), table, moved.abs(), moved).table(), table)
    assert not TableReader(CONFIG)(table, moved.abs()).any()


def test_rows_can_change_places_and_go_or_grow_with_the_pointer(table):
    head, h, moved = TableHead(CONFIG), torch.randn(3, CONFIG.width), torch.tensor([[3, -2], [9, 9], [-70, 70]])
    K, far, pointer = CONFIG.windows, torch.cat([moved, moved], 1)[:, None], torch.zeros(3, 2, dtype=torch.int64)
    speaks, raised = head.source.bias.data.view(K, K + 9), [2, 0, 1, 3]  # the third window comes to the front
    speaks[:] = F.pad(9.0 * torch.eye(K)[raised], (0, 9))
    assert torch.equal(head(h, table, pointer, moved).table(), table[:, raised])
    speaks[:] = F.pad(torch.eye(K), (0, 9))
    speaks[:, K] = 9.0
    along = head(h, table, pointer, moved).table()
    assert torch.equal(along[..., :3], table[..., :3])
    assert torch.equal(along[..., 3:], (table[..., 3:] + far).clamp(0, CLASSES - 1))
    speaks[:, K : K + 2] = torch.tensor([0.0, 9.0])
    grown = head(h, table, pointer, moved).table()
    assert torch.equal(grown[..., :5], table[..., :5]) and torch.equal(grown[..., 5:], along[..., 5:])


def random_odds(rows: int, values: int) -> TableOdds:
    """Odds over ``rows`` rows of one side, which has only the first ``values`` values."""
    generator = torch.Generator().manual_seed(0)
    new = torch.rand(1, rows, 1, values, generator=generator)
    change = torch.rand(1, rows, 1, 4, generator=generator)
    return TableOdds(
        before=torch.tensor([[[0], [2]]]), far=torch.ones(1, 1, 1, dtype=torch.int64),
        origin=torch.rand(1, rows, rows, generator=generator).log_softmax(-1),
        change=change / change.sum(-1, keepdim=True),
        new=F.pad(new / new.sum(-1, keepdim=True), (0, CLASSES - values)),
    )  # fmt: skip


def test_the_likelihoods_of_all_tables_of_a_row_sum_to_one():
    odds = random_odds(2, 4)
    total = sum(odds.log_likelihood(torch.full((1, 2, 1), v)).exp() for v in range(4))
    assert torch.allclose(total, torch.ones(1, 2), atol=1e-5)


def test_all_fields_of_a_row_come_from_one_window(table):
    head, h, still = TableHead(CONFIG), torch.zeros(3, CONFIG.width), torch.zeros(3, 2, dtype=torch.int64)
    K = CONFIG.windows
    speaks = head.source.bias.data.view(K, K + 9)
    speaks[0, :K] = torch.tensor([9.0, 9.0, 0.0, 0.0])  # the top one is either of two
    odds = head(h, table, still, still)
    mixed = table.clone()
    mixed[:, 0, :3] = table[:, 1, :3]
    either = odds.log_likelihood(table)[:, 0], odds.log_likelihood(table[:, [1, 1, 2, 3]])[:, 0]
    assert torch.allclose(either[0].exp(), torch.tensor(0.5), atol=1e-2)
    assert torch.allclose(either[1].exp(), torch.tensor(0.5), atol=1e-2)
    assert (odds.log_likelihood(mixed)[:, 0] < -10).all()


def test_a_row_can_be_found_by_what_its_window_is_like(table):
    head, still = TableHead(CONFIG), torch.zeros(3, 2, dtype=torch.int64)
    torch.nn.init.normal_(head.ask.weight)
    h = torch.randn(3, CONFIG.width)
    order = [2, 0, 3, 1]
    origin, other = (head(h, t, still, still).origin - head.source.bias.data.view(4, 13)[:, :4] for t in
                     (table, table[:, order]))  # fmt: skip
    assert torch.allclose(origin[..., order].softmax(-1), other.softmax(-1), atol=1e-4)


def test_a_window_that_is_absent_looks_alike_from_everywhere():
    reader = tiny_desktop().network.told
    table, places = torch.zeros(2, CONFIG.windows, 7, dtype=torch.int64), torch.tensor([[3, 4], [15, 9]])
    nowhere = reader(table, places)
    assert torch.equal(nowhere[0], nowhere[1])
    table[:, 0] = torch.tensor([2, 1, 0, 25, 25, 30, 30])
    somewhere = reader(table, places)
    assert not torch.equal(somewhere[0], somewhere[1])


def test_a_batch_holds_the_table_before_and_after_each_event(tmp_path):
    rng = np.random.default_rng(0)
    events, windows = random_events(rng, 2, 5), rng.integers(1, 60, (2, 5, 4, 7))
    frames, network = np.zeros((2, 6, CONFIG.num_tiles), np.int64), tiny_desktop().network
    shard = write_shard(tmp_path / "shard-00000.npz", network, frames, events, np.zeros((2, 6), np.int64), windows)
    batch = PatchData([shard], network, 1000, workers=1).batch([0, 1], 4, torch.Generator().manual_seed(0))
    assert (batch["windows"].numpy() == name_sides(windows, 4)).all()
    assert torch.equal(batch["windows_in"][:, 1:], batch["windows"][:, :-1]) and not batch["windows_in"][:, 0].any()


def test_in_training_a_table_may_have_missed_a_change_for_a_few_events(monkeypatch):
    monkeypatch.setattr(patch_batches, "MISSED", 1.0)
    said = np.repeat(np.arange(1, 5, dtype=np.uint8), 10)[:, None, None] * np.ones((4, 7), np.uint8)
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
            state.windows[:, 0] = torch.tensor([state_of_first, 1, 0, 25, 25, 30, 30])
        for t in range(20):
            computer.step(state, events[:, t])
        shown.append(state.codes.clone())
    assert (shown[0] != shown[1]).any(1).sum() > 1
