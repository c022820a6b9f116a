"""The codec: tiles on their own, pixels to codes to latents and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import glyph_tiles, tiny_computer, tiny_config

from nc_gym.computer.codec import TileCodec, fit_codec

CONFIG = tiny_config(num_codes=12, latent_dim=4, screen_height=48, screen_width=40)  # 3 rows x 5 columns


@pytest.fixture
def codec():
    return tiny_computer().network.codec


def fitted(counts, num_codes=12, seed=3):
    codec = TileCodec(tiny_config(num_codes=num_codes, latent_dim=4))
    fit_codec(codec, glyph_tiles(len(counts)).numpy(), np.array(counts), seed)
    return codec


def test_codes_drawn_as_screens_are_read_back(codec):
    codes = torch.randint(128, (2, 3, 480), generator=torch.Generator().manual_seed(0))
    screens = codec.screens(codes)
    assert screens.shape == (2, 3, 192, 320, 3) and screens.dtype == torch.uint8
    assert torch.equal(codec.encode(screens), codes)


def test_tiles_are_cut_in_raster_order():
    codec = TileCodec(CONFIG)
    screen = torch.arange(48 * 40 * 3).view(48, 40, 3)
    tiles = codec.tiles(screen)
    assert tiles.shape == (15, 16, 8, 3)
    assert torch.equal(tiles[0], screen[:16, :8])
    assert torch.equal(tiles[6], screen[16:32, 8:16])
    assert torch.equal(tiles[14], screen[32:, 32:])


@pytest.mark.parametrize("lead", [(), (3,), (2, 3), (0,)])
def test_tiles_of_any_leading_shape_are_named(codec, lead):
    codes = torch.randint(128, lead, generator=torch.Generator().manual_seed(1))
    assert torch.equal(codec.encode_tiles(codec.prototypes[codes]), codes)


def test_an_unknown_tile_gets_the_code_of_the_nearest_prototype(codec):
    generator = torch.Generator().manual_seed(2)
    tiles = torch.randint(256, (20, 16, 8, 3), generator=generator).to(torch.uint8)
    distance = (tiles[:, None].double() - codec.prototypes.double()).square().sum((2, 3, 4))
    assert torch.equal(codec.encode_tiles(tiles), distance.argmin(1))


def test_a_code_depends_on_its_own_tile_only(codec):
    screen = codec.screens(torch.arange(480)[None] % 128)
    changed = screen.clone()
    changed[0, 32:48, 80:88] = codec.prototypes[77]  # row 2, column 10
    differs = (codec.encode(screen) != codec.encode(changed))[0]
    assert differs.nonzero().flatten().tolist() == [2 * 40 + 10]


def test_a_latent_that_is_a_little_wrong_snaps_to_its_code(codec):
    p = codec.code_latents
    nearest = torch.cdist(p, p).fill_diagonal_(torch.inf).min(1).values  # how far apart codes are
    away = torch.nn.functional.normalize(torch.randn(p.shape, generator=torch.Generator().manual_seed(0)), dim=1)
    assert torch.equal(codec.snap(p + 0.45 * nearest[:, None] * away), torch.arange(128))
    assert codec.snap(p.view(4, 32, -1)).shape == (4, 32)


def test_snapping_finds_the_nearest_latent_whatever_the_shape(codec):
    latents = torch.randn(3, 5, codec.code_latents.shape[1], generator=torch.Generator().manual_seed(0))
    assert torch.equal(codec.snap(latents), torch.cdist(latents, codec.code_latents).argmin(-1))


def test_the_most_frequent_tiles_become_prototypes_most_frequent_first():
    counts = [5, 1, 9, 7, 3, 8]
    codec = fitted(counts, num_codes=4)
    assert torch.equal(codec.prototypes, glyph_tiles(6)[[2, 5, 3, 0]])


def test_spare_codes_are_never_named():
    codec = fitted([5, 4, 3])
    assert codec.encode_tiles(glyph_tiles(3)).tolist() == [0, 1, 2]
    assert torch.equal(codec.prototypes[3:], codec.prototypes[:1].expand(9, -1, -1, -1))


def test_latents_have_unit_variance_and_are_spread():
    codec = fitted(list(range(12, 0, -1)))
    p = codec.code_latents
    assert torch.allclose(p.square().mean(1), torch.ones(12), atol=1e-4)
    chance = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
    chance = torch.nn.functional.normalize(chance, dim=1) * 2

    def closest(x):
        return float(torch.cdist(x, x).fill_diagonal_(torch.inf).min())

    assert closest(p) > 1.5 * closest(chance)


def test_fitting_is_a_function_of_tiles_and_seed_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    one, same, other = fitted([3, 2, 1, 1]), fitted([3, 2, 1, 1]), fitted([3, 2, 1, 1], seed=4)
    assert torch.equal(one.code_latents, same.code_latents)
    assert not torch.equal(one.code_latents, other.code_latents)
    assert torch.equal(torch.get_rng_state(), before)
