"""The glyph table, its colours, and the script that made it."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from nc_gym.machines import font, make_font


def test_all_glyphs_differ_from_one_another() -> None:
    assert font.GLYPHS.shape == (96, 16, 8)
    assert len({glyph.tobytes() for glyph in font.GLYPHS}) == 96


def test_only_the_space_is_blank() -> None:
    blank = [index for index, glyph in enumerate(font.GLYPHS) if not glyph.any()]
    assert blank == [font.glyph_index(" ")]


@pytest.mark.parametrize("char", ["\u2500", "\u00e9", "\n", "", "e\u0301", "\x7f"])
def test_anything_but_printable_ascii_gets_the_replacement_box(char: str) -> None:
    assert font.glyph_index(char) == font.REPLACEMENT


def test_drawn_cell_shows_the_glyph_in_its_two_colours() -> None:
    cell = font.draw(font.glyph_index("A"), (1, 2, 3), (7, 8, 9))
    assert cell.shape == (16, 8, 3) and cell.dtype == np.uint8
    glyph = font.GLYPHS[font.glyph_index("A")]
    assert (cell[glyph] == (1, 2, 3)).all() and (cell[~glyph] == (7, 8, 9)).all()
    rows = ["".join(".#"[int(pixel)] for pixel in row) for row in glyph]
    assert "######" in "".join(rows) and rows[0] == rows[-1] == "........"


def test_palette_colours_differ_and_text_is_light_grey_on_black() -> None:
    assert len({tuple(entry) for entry in font.PALETTE.tolist()}) == 16
    assert font.color("default", False, font.FOREGROUND) == (170, 170, 170)
    assert font.color("default", False, font.BACKGROUND) == (0, 0, 0)


def test_bold_makes_dark_colours_bright_and_hex_colours_pass_through() -> None:
    assert font.color("blue", True, 7) == font.color("brightblue", False, 7) == (85, 85, 255)
    assert font.color("brightbrown", False, 7) == font.color("brightyellow", True, 7) == (255, 255, 85)
    assert font.color("0a10ff", True, 7) == (10, 16, 255)


def test_licence_ships_beside_the_table() -> None:
    licence = Path(font.__file__).with_name("spleen_8x16.LICENSE").read_text(encoding="utf-8")
    assert "Frederic Cambus" in licence and "Redistributions in binary form" in licence


def _psf1(magic: bytes = b"\x36\x04") -> bytes:
    """A PSF1 font of our own table, its glyphs at scattered places and each with a second character."""
    order = [95 * 7 % 256] + [(7 * index) % 256 for index in range(1, 256)]
    bitmaps = {code: np.packbits(font.GLYPHS[code - 32]).tobytes() for code in range(32, 127)}
    body, table = b"", b""
    for code in order:
        body += bitmaps.get(code, bytes(16))
        table += struct.pack("<HHHH", code, 0x2500 + code, 0xFFFE, ord("A")) + struct.pack("<H", 0xFFFF)
    return magic + bytes([2, 16]) + body + table


def test_script_reads_a_psf_font_back_into_the_shipped_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "font.psfu"
    source.write_bytes(_psf1())
    shipped = make_font.TABLE.read_text()
    monkeypatch.setattr(make_font, "TABLE", tmp_path / "table.hex")
    make_font.main(str(source))
    assert (tmp_path / "table.hex").read_text() == shipped


def test_script_refuses_what_is_no_psf_font(tmp_path: Path) -> None:
    source = tmp_path / "font.psfu"
    source.write_bytes(_psf1(magic=b"\x00\x00"))
    with pytest.raises(ValueError, match="expected an 8x16 PSF1 font"):
        make_font.main(str(source))
