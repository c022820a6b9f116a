"""The window table: what a recording's window lists become, and what the network reads off it."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from tiny_desktop import random_events, table_of, tiny_config, tiny_desktop, write_shard

from nc_gym.computer import patch_batches, patch_mistakes
from nc_gym.computer.patch_batches import PatchData
from nc_gym.computer.window_table import CLASSES, EDGE, FIELDS, TableReader, WindowPlace, hits, name_sides
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


def test_the_pointer_is_on_the_topmost_of_the_windows_that_lie_there_frames_and_all():
    config, table = dataclasses.replace(CONFIG, frame=(1, 4, 1, 2)), table_of(0, 1, 2)
    table[0, :, 3] += torch.tensor([0, 3, 3, 0])  # the two lower ones lie three columns further right
    table[0, 2, 0] = 1  # minimised
    for at, expected in (
        ((0, 0), [0, 0, 0, 0]), ((1, 0), [2, 0, 0, 0]), ((4, 3), [2, 1, 0, 0]), ((7, 8), [2, 1, 0, 0]),
        ((8, 8), [0, 2, 0, 0]), ((7, 9), [0, 0, 0, 0]), ((10, 8), [0, 2, 0, 0]), ((11, 8), [0, 0, 0, 0]),
    ):  # fmt: skip
        assert hits(table, torch.tensor([at]), config).tolist() == [expected]


def test_the_window_that_is_hit_is_read_the_same_way_in_whatever_row_it_stands():
    reader, at = TableReader(CONFIG), torch.tensor([[3, 4]])
    torch.nn.init.normal_(reader.hit.weight)
    table = table_of(0, 1, 2)
    table[0, :2, 3] += 30  # the pointer is on the lowest one only
    of_lowest = reader(table, at)
    assert of_lowest.abs().max() > 0.1
    assert torch.equal(of_lowest, reader(table[:, [2, 0, 1, 3]], at))
    assert not reader(table, at + 10).any()  # it is on none


def test_a_place_in_the_topmost_window_is_told_alike_wherever_that_window_lies():
    told, table, step = WindowPlace(CONFIG, 8), table_of(0, 1), torch.tensor([3, 2])
    for side in told.sides:
        torch.nn.init.normal_(side.weight)
    table[0, 1, 3:5] -= 1  # the lower window sticks out above and on the left
    moved, at = table.clone(), torch.tensor([[4, 5]])
    moved[0, 0, 3:5] += step
    assert torch.equal(told(table, at), told(moved, at + step))
    assert not torch.equal(told(table, at), told(moved, at))  # now in the lower one
    assert not torch.equal(told(table, at), told(table, at + 1))
    assert torch.equal(told(table, at + 9), told(moved, at + 10))  # in none
    moved[0, 0, 5] += 4  # its far side is farther away
    assert not torch.equal(told(table, at), told(moved, at + step))


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
    monkeypatch.setattr(patch_mistakes, "MISSED", 1.0)
    said = np.repeat(np.arange(1, 5, dtype=np.uint8), 10)[:, None, None] * np.ones((4, len(FIELDS)), np.uint8)
    known = patch_mistakes.known_tables(said, np.random.default_rng(0))[:, 0, 0]
    true = np.concatenate([[0], said[:-1, 0, 0]])
    late = known != true
    assert (known[late] == true[late] - 1).all()  # what stood there before the change
    assert set(np.flatnonzero(late) // 10) == {0, 1, 2, 3} and 4 <= late.sum() <= 4 * patch_mistakes.RECENT
    assert (patch_mistakes.known_tables(said, None)[:, 0, 0] == true).all()


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
