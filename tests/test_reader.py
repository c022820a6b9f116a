"""The reader: on real screens it equals pyte's grid exactly, and it is fast because it reads only what changed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from nc_gym.machines import font
from nc_gym.machines.keys import KEYS, encode
from nc_gym.machines.terminal import BashTerminal
from nc_gym.reader import Reader, read_screens

# No 30 and 47: black on black and grey on grey are characters that no pixel shows.
COMMANDS = (
    "ls -la --color=always / /tmp /usr\n"
    "mkdir Docs Xy; touch a.txt; chmod 1777 Docs; chmod 777 Xy; ln -s no link; ls --color=always\n"
    "echo '!\"#$%&()*+,-./:;<=>?@[]^_`{|}~' \\\\ \"'\"\n"
    "echo ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789\necho abcdefghijklmnopqrstuvwxyz\n"
    'for i in 31 32 33 34 35 36 37 41 42 43 44 45 46; do echo -e "\\e[${i}mcolour\\e[1m bold\\e[0m"; done\n'
    "clear\ncat nowhere; cd Docs; pwd; xyz\n"
)


@pytest.fixture
def terminals() -> Iterator[BashTerminal]:
    with BashTerminal(4) as machine:
        machine.reset(np.ones(4, bool), np.arange(4), np.zeros(4, np.int64))
        yield machine


def assert_equals_pyte(reader: Reader, machine: BashTerminal) -> None:
    chars, cursors = reader.read(machine.screens())
    assert np.array_equal(chars, machine.chars())
    assert np.array_equal(cursors, machine.cursors())


def test_equals_pyte_on_every_frame_of_coloured_commands(terminals: BashTerminal) -> None:
    reader = Reader(4, terminals.screen_shape)
    for event in encode(COMMANDS):
        terminals.step(np.full(4, event), np.ones(4, bool))
        assert_equals_pyte(reader, terminals)


def test_equals_pyte_on_thousands_of_frames_of_random_keys(terminals: BashTerminal) -> None:
    reader = Reader(4, terminals.screen_shape)
    for events in np.random.default_rng(0).integers(len(KEYS), size=(800, 4)):
        terminals.step(events, np.ones(4, bool))
        assert_equals_pyte(reader, terminals)


def draw(glyph: int, foreground: int, background: int, inverse: bool = False) -> np.ndarray:
    colors = [tuple(int(v) for v in font.PALETTE[i]) for i in (foreground, background)]
    return font.draw(glyph, *(reversed(colors) if inverse else colors))


def place(cells: dict[tuple[int, int], np.ndarray]) -> np.ndarray:
    screens = np.zeros((1, 192, 320, 3), np.uint8)
    for (row, column), pixels in cells.items():
        screens[0, 16 * row : 16 * row + 16, 8 * column : 8 * column + 8] = pixels
    return screens


@pytest.mark.parametrize("foreground", range(1, 16))
def test_reads_every_glyph_in_every_colour(foreground: int) -> None:
    cells = {(1 + g // 40, g % 40): draw(g, foreground, 0) for g in range(len(font.GLYPHS))}
    chars, cursors = read_screens(place(cells))
    assert chars[0].ravel()[40 : 40 + len(font.GLYPHS)].tolist() == list(range(32, 128))
    assert cursors.tolist() == [[-1, -1]]  # and no cursor where there is none


@pytest.mark.parametrize("glyph", range(len(font.GLYPHS)))
def test_finds_the_cursor_on_every_glyph(glyph: int) -> None:
    chars, cursors = read_screens(place({(5, 7): draw(glyph, 7, 0, inverse=True)}))
    assert cursors.tolist() == [[5, 7]] and chars[0, 5, 7] == glyph + 32


def test_last_inverse_cell_is_the_cursor() -> None:
    chars, cursors = read_screens(place({(2, 0): draw(40, 0, 2), (3, 3): draw(0, 7, 0, inverse=True)}))
    assert cursors.tolist() == [[3, 3]] and chars[0, 2, 0] == 72


def test_nearest_glyph_is_read_from_damaged_pixels() -> None:
    rng = np.random.default_rng(0)
    for glyph in range(1, 95):
        pixels = draw(glyph, 7, 0)
        pixels[rng.integers(16), rng.integers(8)] ^= 170  # one wrong pixel
        noisy = np.clip(pixels.astype(int) + rng.integers(-20, 21, pixels.shape), 0, 255).astype(np.uint8)
        chars, _ = read_screens(place({(0, 0): noisy}))
        distance = (font.GLYPHS ^ (pixels[..., 0] > 0)).sum((1, 2))
        assert distance[chars[0, 0, 0] - 32] == distance.min()


def test_reading_changes_only_equals_reading_all() -> None:
    rng = np.random.default_rng(1)
    reader = Reader(3, (192, 320, 3))
    screens = np.zeros((3, 192, 320, 3), np.uint8)
    for _ in range(50):
        screens = screens.copy()
        row, y, x = rng.integers(3), 16 * rng.integers(12), 8 * rng.integers(40)
        screens[row, y : y + 16, x : x + 8] = draw(rng.integers(96), rng.integers(1, 16), 0, inverse=rng.random() < 0.1)
        for got, expected in zip(reader.read(screens), read_screens(screens), strict=True):
            assert np.array_equal(got, expected)
