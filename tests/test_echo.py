"""The echo: one offset per event, found in training from what the denoiser could not draw, and taken by the painter."""

from __future__ import annotations

import numpy as np
import torch
from tiny_desktop import random_events, tiny_config, tiny_desktop

from nc_gym.computer.echo import FARTHEST, LEAST, EchoHead, EchoOdds, find_offsets
from nc_gym.computer.painter import ECHO, KEEP, RECALLS, SOURCES, Paint
from nc_gym.computer.patch_geometry import cut, grid, moved_codes
from nc_gym.computer.patch_objective import copied

ROWS, COLUMNS = 16, 20


def screens_and_tiles(down: int, right: int, drawn: float) -> tuple[torch.Tensor, ...]:
    """Two random screens; 8 tiles of the second show what stood elsewhere, which is drawn with that probability."""
    screens = torch.randint(40, (2, ROWS, COLUMNS), generator=torch.Generator().manual_seed(0))
    row, column = torch.tensor([8, 8, 8, 8, 9, 9, 9, 9]), torch.tensor([9, 10, 11, 12, 9, 10, 11, 12])
    target = screens[1, row - down, column - right]
    return screens, torch.ones(8, dtype=torch.int64), row, column, target, torch.full((8,), drawn), torch.ones(8)


def test_the_offset_that_explains_what_could_not_be_drawn_is_found() -> None:
    for down, right in ((4, -4), (0, 6), (-5, 7), (8, -7)):
        offset, found = find_offsets(*screens_and_tiles(down, right, 0.1))
        assert offset[1].tolist() == [down, right]
        assert found.tolist() == [False, True]


def test_what_can_be_drawn_is_not_looked_for() -> None:
    _, found = find_offsets(*screens_and_tiles(4, -4, 0.9))
    assert not found.any()


def test_too_few_tiles_say_nothing() -> None:
    screens, *tiles = screens_and_tiles(4, -4, 0.0)
    _, found = find_offsets(screens, *(part[: int(LEAST) - 1] for part in tiles))
    assert not found.any()


def test_a_tile_counts_for_those_like_it_that_were_left_out() -> None:
    screens, *tiles, share = screens_and_tiles(4, -4, 0.0)
    few = [part[: int(LEAST) - 1] for part in tiles]
    offset, found = find_offsets(screens, *few, share[: int(LEAST) - 1] * 0.6)
    assert offset[1].tolist() == [4, -4] and found.tolist() == [False, True]


def test_drawn_tiles_do_not_outvote_those_that_must_be_fetched() -> None:
    screens, _, row, column, target, drawn, _ = screens_and_tiles(4, -4, 0.0)
    other_row, other_column = torch.arange(14, 16).repeat(10), torch.arange(10, 20).repeat_interleave(2)
    other = screens[1, other_row - 2, other_column - 3]  # fixed words that stood there, too: twenty tiles
    offset, _ = find_offsets(
        screens, torch.ones(28, dtype=torch.int64), torch.cat([row, other_row]), torch.cat([column, other_column]),
        torch.cat([target, other]), torch.cat([drawn, torch.full((20,), 0.95)]), torch.ones(28),
    )  # fmt: skip
    assert offset[1].tolist() == [4, -4]


def test_an_offset_brings_the_tiles_that_it_was_found_for() -> None:
    config = tiny_config()
    screens, event, row, column, target, drawn, share = screens_and_tiles(4, -4, 0.0)
    offset, _ = find_offsets(screens, event, row, column, target, drawn, share)
    codes = cut(config, screens.flatten(1))
    assert torch.equal(grid(codes, config), screens)
    everywhere = torch.arange(config.num_patches)
    echoed = moved_codes(config, codes, torch.ones_like(everywhere), everywhere, offset)
    assert torch.equal(grid(echoed[None], config)[0, row, column], target)


def test_odds_name_the_likeliest_offset() -> None:
    config = tiny_config()
    odds = EchoHead(config)(torch.randn(3, config.width))
    offset = odds.offset()
    assert bool((offset[:, 0].abs() <= FARTHEST).all())
    assert bool((offset[:, 1].abs() < config.tile_columns).all())
    likeliest = odds.log_likelihood(offset)
    assert bool((likeliest >= odds.log_likelihood(torch.tensor([[1, 2], [-3, 4], [0, -19]]))).all())
    certain = EchoOdds(torch.full((1, 33), -50.0), torch.full((1, 39), -50.0))
    certain.down[0, 16 + 4] = certain.right[0, 19 - 4] = 50.0
    assert certain.offset().tolist() == [[4, -4]]
    assert float(certain.log_likelihood(torch.tensor([[4, -4]]))) > -1e-3


def test_an_echo_counts_towards_the_likelihood_of_the_tile_that_it_shows() -> None:
    source = torch.full((1, 16, SOURCES), -20.0)
    source[..., ECHO] = 20.0
    paint = Paint(source, torch.zeros(1, RECALLS, 4), torch.zeros(1, 32))
    nothing, target = torch.full((1, 16), 40), torch.arange(16)[None]
    versions = torch.full((1, 4, 16), -1)
    assert float(copied(paint, nothing, nothing, nothing, target, versions, target).min()) > 0.99
    assert float(copied(paint, nothing, nothing, nothing, nothing, versions, target).max()) < 0.01


def test_a_computer_that_echoes_shows_what_stood_elsewhere() -> None:
    computer = tiny_desktop(seed=3)
    net, config = computer.network, computer.network.config
    for parameter in (net.echo.read.weight, net.painter.source.weight, net.painter.tile_source.weight):
        parameter.data.zero_()
    net.echo.read.bias.data[:] = -50.0
    net.echo.read.bias.data[FARTHEST + 4] = 50.0  # four rows of tiles down,
    net.echo.read.bias.data[net.echo.sizes[0] + config.tile_columns - 1 - 2] = 50.0  # two columns to the left
    bias = net.painter.source.bias.data.view(-1, SOURCES)
    bias[:] = -50.0
    bias[:, KEEP], bias[:, ECHO] = 0.0, 50.0
    net.scout.damage.bias.data[:] = 50.0  # everything
    net.outlook.read.bias.data[:2] = torch.tensor([-50.0, 50.0])  # at every event
    state = computer.boot(torch.zeros(1, dtype=torch.int64))
    shown = torch.randint(40, (1, config.num_tiles), generator=torch.Generator().manual_seed(1))
    event = torch.from_numpy(random_events(np.random.default_rng(0), 1))
    with torch.inference_mode():
        state.codes[:] = shown
        computer._runtime.step(state, event, torch.zeros(1, dtype=torch.int64))
    before, after = (x.view(ROWS, COLUMNS) for x in (shown[0], state.codes[0]))
    assert torch.equal(after[4:, :-2], before[:-4, 2:])
    assert torch.equal(after[:4], before[:4])  # nothing comes from beyond the screen
