"""The real terminal: N sandboxed shells, their screens emulated by pyte and drawn with a bitmap font.

One step is one key in each chosen row, then the settled screen (see ``shell.py``). A command that runs on is shown as
far as it came within ``RUN_CAP``; further steps, for example no-ops, show what it did since.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyte
from numpy.typing import NDArray
from pyte.screens import Char

from nc_gym.machines import font, sandbox
from nc_gym.machines.font import CELL_HEIGHT, CELL_WIDTH
from nc_gym.machines.keys import KEY_BYTES
from nc_gym.machines.rows import RealRows
from nc_gym.machines.shell import START_CAP, Shell, settle

ROWS = 12
COLUMNS = 40
RUN_CAP = 0.5  # seconds that a step waits for a command that runs on
BUSY_CAP = 0.1  # seconds that each later step waits while it still runs
HANG_CAP = 10.0  # seconds of such waiting after which the shell counts as hung and is restarted
_CLEAR = b"\x1bc"  # resets the terminal of whoever plays the output back

_Tiles = dict[tuple[Char, bool], NDArray[np.uint8]]


def _forgiving(handler: Callable[..., None]) -> Callable[..., None]:
    """Makes a pyte handler ignore escape sequences whose parameters it does not know, as terminals do."""

    def call(*arguments: int, **flags: bool) -> None:
        try:
            handler(*arguments, **flags)
        except (TypeError, UnboundLocalError):
            pass

    return call


class Display:
    """One pyte screen and its pixels, redrawn only where they changed."""

    def __init__(self, tiles: _Tiles) -> None:
        self._tiles = tiles
        self.screen = pyte.Screen(COLUMNS, ROWS)
        for name in set(pyte.Stream.csi.values()):
            setattr(self.screen, name, _forgiving(getattr(self.screen, name)))
        self._stream = pyte.ByteStream(self.screen)
        self._drawn: list[list[Char | None]] = [[None] * COLUMNS for _ in range(ROWS)]
        self._cursor = (0, 0)
        self._pixels = np.zeros((ROWS * CELL_HEIGHT, COLUMNS * CELL_WIDTH, 3), np.uint8)

    def feed(self, data: bytes) -> None:
        """Shows output."""
        self._stream.feed(data)

    def cursor(self) -> tuple[int, int]:
        """Returns row and column; after a full line the cursor stays on the last column until it wraps."""
        cursor = self.screen.cursor
        return cursor.y, min(cursor.x, COLUMNS - 1)

    def pixels(self) -> NDArray[np.uint8]:
        """Returns the screen, uint8 (192, 320, 3): a buffer that the next call overwrites."""
        old, new = self._cursor, self.cursor()
        if old != new:
            self._drawn[old[0]][old[1]] = self._drawn[new[0]][new[1]] = None
            self._cursor = new
        for row in self.screen.dirty | {old[0], new[0]}:
            line, drawn = self.screen.buffer[row], self._drawn[row]
            for column in range(COLUMNS):
                cell = line[column]
                if cell is not drawn[column] and cell != drawn[column]:
                    drawn[column] = cell
                    top, left = row * CELL_HEIGHT, column * CELL_WIDTH
                    tile = self._tile(cell, (row, column) == new)
                    self._pixels[top : top + CELL_HEIGHT, left : left + CELL_WIDTH] = tile
        self.screen.dirty.clear()
        return self._pixels

    def _tile(self, cell: Char, cursor: bool) -> NDArray[np.uint8]:
        """Returns the pixels of one cell, uint8 (16, 8, 3); under the cursor in inverse video."""
        tile = self._tiles.get((cell, cursor))
        if tile is None:
            foreground = font.color(cell.fg, cell.bold, font.FOREGROUND)
            background = font.color(cell.bg, False, font.BACKGROUND)
            if cell.reverse != cursor:
                foreground, background = background, foreground
            tile = self._tiles[cell, cursor] = font.draw(font.glyph_index(cell.data), foreground, background)
        return tile

    def chars(self) -> NDArray[np.uint8]:
        """Returns the character codes, uint8 (12, 40); 127 stands for anything but printable ASCII."""
        lines = [self.screen.buffer[row] for row in range(ROWS)]
        glyphs = [[font.glyph_index(line[column].data) for column in range(COLUMNS)] for line in lines]
        return (np.array(glyphs) + font.FIRST_CHAR).astype(np.uint8)


class BashTerminal(RealRows[int]):
    """N real terminals. Implements the ``Machine`` protocol.

    Args:
        num_rows: how many terminals.
        boots: per boot the events that are replayed into a fresh shell in an empty home.
    """

    screen_shape = (ROWS * CELL_HEIGHT, COLUMNS * CELL_WIDTH, 3)

    def __init__(self, num_rows: int = 1, boots: Sequence[Sequence[int]] = ((),)) -> None:
        super().__init__(num_rows, boots)
        self._tiles: _Tiles = {}
        self._shells: dict[int, Shell] = {}
        self._displays = [Display(self._tiles) for _ in range(num_rows)]
        self._output = [b""] * num_rows

    def reset(self, rows: NDArray[np.bool_], seeds: NDArray[np.int64], boots: NDArray[np.int64]) -> None:
        """Gives the chosen rows (N,) a fresh shell in an empty home and replays their boots (N,); no seed is used."""
        for row in np.flatnonzero(rows):
            self._output[row] = b""
        super().reset(rows, seeds, boots)

    def step(self, events: NDArray[np.int64], rows: NDArray[np.bool_]) -> None:
        """Types one key (N,) in each chosen row (N,) and waits for the settled screens."""
        chosen = {int(row): int(events[row]) for row in np.flatnonzero(rows)}
        for row, event in chosen.items():
            if row not in self._shells:
                raise RuntimeError(f"row {row} was stepped before its first reset: call reset for it first")
            if not 0 <= event < len(KEY_BYTES):
                raise ValueError(f"event {event} in row {row} is no key; expected 0 to {len(KEY_BYTES) - 1}")
        self._restarted[:] = False
        self._output = [b""] * self.num_rows
        self._send(chosen)

    def _start(self, rows: Sequence[int]) -> None:
        """Starts fresh shells and waits for their prompts."""
        for row in rows:
            if row in self._shells:
                self._shells.pop(row).close()
            self._shells[row] = Shell(ROWS, COLUMNS)
            self._displays[row] = Display(self._tiles)
            self._busy[row] = 0.0
        output, late = settle({row: self._shells[row] for row in rows}, dict.fromkeys(rows, START_CAP))
        if late:
            text = output[min(late)].decode(errors="replace").strip()
            self.close()
            sandbox.start_failed("bash", text)
        for row in rows:
            self._shells[row].started()
            self._output[row] += output[row]
            self._displays[row].feed(output[row])

    def _send(self, events: Mapping[int, int]) -> None:
        """Types one key per row, waits for all, and restarts the shells that died or hang."""
        caps = {row: BUSY_CAP if self._busy[row] else RUN_CAP for row in events}
        for row, event in events.items():
            self._shells[row].write(KEY_BYTES[event])
        output, late = settle({row: self._shells[row] for row in events}, caps)
        for row, data in output.items():
            self._output[row] += data
            self._displays[row].feed(data)
            self._busy[row] = self._busy[row] + caps[row] if row in late else 0.0
        lost = [row for row in late if self._busy[row] > HANG_CAP or not self._shells[row].alive()]
        for row in lost:
            self._restarted[row] = True
            self._output[row] += _CLEAR
        self._start(lost)

    def screens(self) -> NDArray[np.uint8]:
        """Returns a fresh copy of all screens, uint8 (N, 192, 320, 3)."""
        return np.stack([display.pixels() for display in self._displays])

    def chars(self) -> NDArray[np.uint8]:
        """Returns what pyte shows as character codes, uint8 (N, 12, 40); 127 for anything but printable ASCII."""
        return np.stack([display.chars() for display in self._displays])

    def cursors(self) -> NDArray[np.int64]:
        """Returns row and column of each cursor, int64 (N, 2)."""
        return np.array([display.cursor() for display in self._displays], np.int64)

    def output(self) -> list[bytes]:
        """Returns the raw bytes that each row's pty produced during the last step (or its reset)."""
        return list(self._output)

    def run(self, row: int, argv: Sequence[str]) -> str:
        """Runs a program beside the shell of ``row``, in its sandbox and home, and returns what it printed.

        Raises:
            RuntimeError: the row has no shell, or the program failed.
        """
        if row not in self._shells:
            raise RuntimeError(f"row {row} has no shell to look at: call reset for it first")
        return self._shells[row].run(list(argv))

    def close(self) -> None:
        """Kills all shells; safe to call twice."""
        while self._shells:
            self._shells.popitem()[1].close()
