"""What windows showed when they were last seen, shown again where they go."""

from __future__ import annotations

import numpy as np
import torch
from tiny_desktop import tiny_config, tiny_desktop, write_shard

from nc_gym.computer.backing_store import compose, empty_store, origins
from nc_gym.computer.patch_batches import PatchData
from nc_gym.computer.window_table import EDGE, FIELDS

CONFIG = tiny_config(frame=(1, 2, 1, 1))
GROUND, ONE, OTHER = 1, 2, 3  # what the screen, a window and another one show


def window(title: int, task: int, x: int, y: int, state: int = 3, width: int = 4, height: int = 3) -> list[int]:
    box = [x + EDGE, y + EDGE, width, height]
    return [state, title, task, *box, *box]


def table(*windows: list[int]) -> torch.Tensor:
    rows = [*windows, *([0] * len(FIELDS) for _ in range(CONFIG.windows - len(windows)))]
    return torch.tensor(rows)[None]


def screen(*boxes: tuple[int, int, int]) -> torch.Tensor:
    """Draws windows (what they show, x, y), the topmost first, with their frames."""
    tiles = torch.full((CONFIG.tile_rows, CONFIG.tile_columns), GROUND)
    for shows, x, y in reversed(boxes):
        tiles[max(y - 2, 0) : y + 4, max(x - 1, 0) : x + 5] = shows
    return tiles.view(1, -1)


def play(*steps: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Returns what the stores show at the last of some (table, screen), of which only the table is known by then."""
    codes = torch.full((1, CONFIG.num_tiles), GROUND)
    store, before = empty_store(CONFIG, 1, codes.device), table()
    for after, now in steps:
        store, composed = compose(CONFIG, store, codes, before, after)
        codes, before = now, after
    return composed


A, B = window(1, 0, 4, 4), window(2, 1, 6, 5)
ONLY_A = table(A), screen((ONE, 4, 4))
B_ON_A = table(B, A), screen((OTHER, 6, 5), (ONE, 4, 4))


def test_a_window_that_moves_is_shown_where_it_goes_and_what_it_covered_is_shown_again():
    there = screen((ONE, 12, 9))
    assert torch.equal(play(ONLY_A, (table(window(1, 0, 12, 9)), there)), there)


def test_a_covered_window_is_shown_when_it_is_raised_and_when_the_other_one_is_minimised_moved_or_closed():
    raised, alone = screen((ONE, 4, 4), (OTHER, 6, 5)), ONLY_A[1]
    assert torch.equal(play(ONLY_A, B_ON_A, (table(A, B), raised)), raised)
    assert torch.equal(play(ONLY_A, B_ON_A, (table(A, window(2, 1, 6, 5, state=1)), alone)), alone)
    assert torch.equal(play(ONLY_A, B_ON_A, (table(A), alone)), alone)
    moved = screen((OTHER, 14, 10), (ONE, 4, 4))
    assert torch.equal(play(ONLY_A, B_ON_A, (table(window(2, 1, 14, 10), A), moved)), moved)


def test_a_minimised_window_comes_back_with_what_it_showed_even_elsewhere():
    hidden = table(window(1, 0, 4, 4, state=1)), screen()
    for x, y in ((4, 4), (9, 8), (-2, 4)):
        back = screen((ONE, x, y))
        assert torch.equal(play(ONLY_A, hidden, (table(window(1, 0, x, y)), back)), back)


def test_of_a_new_window_nothing_is_known_so_the_screen_stays():
    assert torch.equal(play(ONLY_A, B_ON_A), ONLY_A[1])


def test_a_window_is_known_by_its_box_when_the_tasks_before_it_move_up():
    before = table(window(1, 0, 4, 4), window(1, 1, 9, 9), window(2, 2, 6, 5))
    after = table(window(1, 0, 9, 9), window(2, 1, 6, 5), window(3, 2, 0, 0))
    assert origins(before, after).tolist() == [[1, 2, -1, -1]]
    moved = table(window(1, 0, 1, 1), window(1, 1, 9, 9), window(2, 2, 6, 5))
    assert origins(before, moved).tolist() == [[0, 1, 2, -1]]


def test_training_sees_what_the_running_computer_composes(tmp_path):
    network = tiny_desktop(frame=(1, 2, 1, 1)).network
    steps = [ONLY_A, B_ON_A, (table(A, B), screen((ONE, 4, 4), (OTHER, 6, 5))), ONLY_A]
    codes = torch.cat([torch.full((1, CONFIG.num_tiles), GROUND), *(now for _, now in steps)])
    windows = torch.cat([after for after, _ in steps]).numpy().copy()
    windows[..., 3:] *= 4
    windows[..., [3, 4, 7, 8]] -= 4 * EDGE
    windows[windows[..., 0] == 0] = 0
    events = np.zeros((2, 4, 4), np.int64)
    frames, tables = codes.numpy()[None].repeat(2, 0), windows[None].repeat(2, 0)
    shard = write_shard(tmp_path / "shard-0.npz", network, frames, events, np.zeros((2, 5), np.int64), tables)
    data = PatchData([shard], network, 1000, workers=1)
    batch = data.batch([0, 1], 8, torch.Generator().manual_seed(0))
    for a, t in enumerate(batch["at"].tolist()):
        shown = batch["states"][batch["backed"][a]]  # (patches, 16)
        tiles = shown.view(CONFIG.patch_rows, CONFIG.patch_columns, 4, 4).transpose(1, 2).reshape(1, -1)
        assert torch.equal(tiles, play(*steps[: t % 4 + 1]))
    assert (batch["states"][batch["backed"]] != batch["states"][batch["canvas"]]).any()
