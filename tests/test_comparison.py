import numpy as np
import pytest

from nc_gym.comparison import GAP, RED, Agreement, character_accuracy, differing_cells, mark, side_by_side, text_line
from nc_gym.machines.font import GLYPHS, glyph_index


def screens():
    left = np.full((32, 40, 3), 100, np.uint8)
    right = left.copy()
    right[20, 9, 1] += 100  # cell (1, 1)
    right[:16, 24:32] += 10  # cell (0, 3): too little to see
    return left, right


def test_only_visible_differences_count():
    cells = differing_cells(*screens())
    assert cells.shape == (2, 5)
    assert np.argwhere(cells).tolist() == [[1, 1]]
    assert np.array_equal(differing_cells(*screens()[::-1]), cells)


def test_mark_boxes_the_cell_and_nothing_else():
    left, right = screens()
    marked = mark(left, differing_cells(left, right), scale=2)
    red = (marked == RED).all(axis=2)
    box = np.ones((32, 16), bool)
    box[2:-2, 2:-2] = False
    assert np.array_equal(red[32:64, 16:32], box)
    assert red.sum() == box.sum()
    assert (marked[~red] == 100).all()


def test_side_by_side_has_header_titles_and_both_screens():
    left, right = screens()
    frame = side_by_side(left, right, "step 3", scale=2)
    assert frame.shape == (32 + 32 + 64, 2 * 80 + GAP, 3)
    assert np.array_equal(frame[:32], text_line("step 3", frame.shape[1], scale=2))
    assert np.array_equal(frame[64:, -80:], mark(right, differing_cells(left, right), 2))
    with pytest.raises(ValueError, match=r"\(32, 40, 3\).*\(16, 40, 3\)"):
        side_by_side(left, right[:16], "step 3")


def test_text_is_drawn_with_the_terminal_font_and_cut_to_the_width():
    line = text_line("Ab" * 9, 20, scale=1)
    assert line.shape == (16, 20, 3)
    for i, char in enumerate("Ab"):
        assert np.array_equal((line[:, i * 8 : i * 8 + 8] == 255).all(axis=2), GLYPHS[glyph_index(char)])


def test_character_accuracy_counts_cells_that_are_non_blank_on_either_side():
    left = np.frombuffer(b"ab  c ", np.uint8)
    right = np.frombuffer(b"ax d  ", np.uint8)
    assert character_accuracy(left, right) == 1 / 4
    blank = np.full(6, ord(" "), np.uint8)
    assert character_accuracy(blank, blank) == 1.0


def test_agreement_averages_over_screens():
    left, right = screens()
    chars = np.frombuffer(b"ab", np.uint8), np.frombuffer(b"ax", np.uint8)
    agreement = Agreement()
    agreement.add(left, left, chars[0], chars[0])
    agreement.add(left, right, *chars)
    assert agreement.mean_characters == 0.75
    assert agreement.share_exact == 0.5
