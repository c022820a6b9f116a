"""Measures the real desktop under its synthetic users: speed, damage and distinct tiles; takes the docs' screenshot.

    python -m nc_gym.traces.desktop_report --events 3000
    python -m nc_gym.traces.desktop_report --screenshot docs/desktop.png

Wall time is what this host gives at that moment; processor time (of this process and of all programs of the desktop) is
what a step costs whatever else runs, and about its wall time on an idle host. Tiles are counted without the pointer.
"""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import imageio.v3 as iio
import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from nc_gym.machines.desktop import XDesktop
from nc_gym.machines.desktop_events import HEIGHT, WIDTH, event
from nc_gym.traces.desktop_mix import DEFAULT_MIX, make_user, session_user
from nc_gym.traces.desktop_users import LAUNCHERS

_SESSION = 150  # events after which a new user gets a fresh desktop
_SIZES = (4, 8, 16)
_ONE, _ZERO = np.ones(1, np.bool_), np.zeros(1, np.int64)


def tiles(screen: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Cuts a screen (H, W, 3) into tiles: uint8 (M, size * size * 3)."""
    rows, columns = screen.shape[0] // size, screen.shape[1] // size
    return screen.reshape(rows, size, columns, size, 3).swapaxes(1, 2).reshape(rows * columns, -1)


def measure(events: int, seed: int) -> tuple[dict[str, NDArray[np.float64]], dict[int, int], float]:
    """Plays ``events`` events of the default mix of users on one desktop.

    Returns:
        By the first word of the user's purpose: seconds and share of changed 8x8 tiles of each event, float64 (E, 2);
        the number of distinct tiles by size; and processor seconds per event.
    """
    kinds: dict[str, list[tuple[float, float]]] = defaultdict(list)
    seen: dict[int, set[bytes]] = {size: set() for size in _SIZES}
    with XDesktop() as machine:
        played, used = 0, 0.0
        for session in track(range(-(-events // _SESSION)), "playing"):
            user = make_user(session_user(seed, session, "train", DEFAULT_MIX), seed, session, "train")
            machine.reset(_ONE, _ZERO, _ZERO)
            last, queue = machine.bare_screens()[0], user.plan([])
            used -= machine.seconds(0)
            for _ in range(min(_SESSION, events - played)):
                while not queue:
                    queue = user.plan(machine.windows(0))
                act = queue.pop(0)
                start, own = time.perf_counter(), time.process_time()
                machine.step(np.array([act.event]), _ONE)
                seconds = time.perf_counter() - start
                used += time.process_time() - own
                screen = machine.bare_screens()[0]
                changed = tiles((screen != last).view(np.uint8), 8).any(1).mean()
                kinds[act.purpose.split()[0]].append((seconds, float(changed)))
                for size, known in seen.items():
                    known.update(map(bytes, tiles(screen, size)))
                last = screen
                played += 1
            used += machine.seconds(0)
    distinct = {size: len(known) for size, known in seen.items()}
    return {kind: np.array(rows) for kind, rows in kinds.items()}, distinct, used / played


def screenshot(path: Path) -> None:
    """Writes a picture of the desktop with its three programs, twice as large."""
    with XDesktop() as machine:
        machine.reset(_ONE, _ZERO, _ZERO)
        for title, text in (("Term", "echo hello\n"), ("Calc", ""), ("Edit", "A note.")):
            machine.step(np.array([event(*LAUNCHERS[title], "left click")]), _ONE)
            for char in text:
                machine.step(np.array([event(*LAUNCHERS[title], key="Enter" if char == "\n" else char)]), _ONE)
        machine.step(np.array([event(264, 112)]), _ONE)
        iio.imwrite(path, machine.screens()[0].repeat(2, 0).repeat(2, 1))


def main(
    events: Annotated[int, typer.Option(min=0, help="How many events to play; 0 for none.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the users.")] = 0,
    picture: Annotated[Path | None, typer.Option("--screenshot", help="Write the docs' picture here.")] = None,
) -> None:
    """Measure the real desktop under its synthetic users, or take its picture."""
    if picture is not None:
        screenshot(picture)
        typer.echo(f"Wrote {picture}.")
    if events == 0:
        return
    kinds, distinct, used = measure(events, seed)
    table = Table("kind", "events", "changes the screen", "8x8 tiles changed", "ms (median)", "ms (95 %)")
    every = np.concatenate(list(kinds.values()))
    for kind, rows in [*sorted(kinds.items(), key=lambda item: -len(item[1])), ("all", every)]:
        milliseconds = np.percentile(rows[:, 0] * 1000, (50, 95))
        shares = (len(rows) / len(every), (rows[:, 1] > 0).mean(), rows[:, 1].mean())
        table.add_row(kind, *(f"{share:.2%}" for share in shares), *(f"{value:.1f}" for value in milliseconds))
    Console().print(table)
    counts = ", ".join(f"{count} of {size}x{size}" for size, count in distinct.items())
    speed = f"{len(every) / every[:, 0].sum():.1f} steps/s, {used * 1000:.1f} ms of processor time per event"
    typer.echo(f"{len(every)} events on {WIDTH}x{HEIGHT}: {speed}; distinct tiles: {counts}.")


if __name__ == "__main__":
    typer.run(main)
