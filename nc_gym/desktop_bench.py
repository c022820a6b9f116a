"""``nc-gym bench desktop``: how fast the neural desktop is, beside the real one, under the same events.

Held-out users act on real desktops; what they did is done again in the neural ones. A step is one event and a fresh
copy of the settled screen. Steps that only move the pointer and steps that open a window are also reported apart.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from nc_gym.bench import host
from nc_gym.machines.desktop import XDesktop
from nc_gym.paths import data_root
from nc_gym.stopwatch import boot
from nc_gym.traces.desktop_mix import make_user

SEED = 21_000  # of the users
SESSIONS = 4  # different ones, which many rows share
ROWS = 32
FLAT_EVENTS = 1000  # of the episode along which the step time is followed


@dataclass
class DesktopSpeed:
    """How fast one machine steps.

    Attributes:
        rows: rows stepped together.
        steps: measured steps.
        steps_per_second: rows × steps over the whole time.
        move_ms: median milliseconds of the steps in which the (only) row's pointer moves and nothing else.
        open_ms: the same of steps that open a window.
    """

    rows: int
    steps: int
    steps_per_second: float
    move_ms: float | None = None
    open_ms: float | None = None


@dataclass
class Session:
    """What one user did: events int64 (steps, 4), what each was for, and the seconds that the real desktop took."""

    events: NDArray[np.int64]
    purposes: list[str]
    seconds: list[float]


def record(index: int, steps: int) -> Session:
    """Lets a held-out user act on a real desktop."""
    user = make_user("goal", SEED, index, "eval")
    events: list[tuple[int, ...]] = []
    purposes: list[str] = []
    seconds: list[float] = []
    with XDesktop(1) as machine:
        boot(machine)
        while len(events) < steps:
            for act in user.plan(machine.windows(0)):
                start = time.perf_counter()
                machine.step(np.array([act.event], np.int64), np.ones(1, np.bool_))
                machine.screens()
                seconds.append(time.perf_counter() - start)
                events.append(act.event)
                purposes.append(act.purpose)
    return Session(np.array(events[:steps], np.int64), purposes[:steps], seconds[:steps])


def speed(rows: int, session: Session, seconds: list[float]) -> DesktopSpeed:
    """Returns the speed of ``rows`` rows whose steps under a session took so many ``seconds``."""
    moves = _moves(session.events, seconds)
    opened = [
        s
        for s, e, purpose in zip(seconds, session.events, session.purposes, strict=False)
        if purpose.startswith("open ") and purpose != "open menu" and e[2]
    ]
    kinds = [1e3 * float(np.median(kind)) if kind and rows == 1 else None for kind in (moves, opened)]
    return DesktopSpeed(rows, len(seconds), rows * len(seconds) / sum(seconds), *kinds)


def _moves(events: NDArray[np.int64], seconds: list[float]) -> list[float]:
    """Returns the seconds of the steps that only point somewhere; nearly all of them paint nothing."""
    return [s for s, event in zip(seconds, events, strict=False) if not event[2:].any()]


def replay(step: Callable[[NDArray[np.int64]], object], sessions: list[Session], rows: int) -> list[float]:
    """Does again in ``rows`` rows what users did, and returns the seconds of each step."""
    seconds = []
    for k in range(min(len(session.events) for session in sessions)):
        events = np.stack([sessions[row % len(sessions)].events[k] for row in range(rows)])
        start = time.perf_counter()
        step(events)
        seconds.append(time.perf_counter() - start)
    return seconds


def bench_desktop(
    weights: str | None = None, device: str = "auto", steps: int = 150, rows: int = ROWS
) -> dict[str, Any]:
    """Measures both desktops; without trained weights in the default place, only the real one.

    Args:
        weights: weights folder, by default the shipped one.
        device: "auto", "cpu" or "cuda".
        steps: events per user.
        rows: of the batch of neural desktops.

    Returns:
        The content of ``docs/bench_desktop.json``.
    """
    sessions = [record(index, steps) for index in track(range(SESSIONS), description="real", transient=True)]
    real = [asdict(speed(1, session, session.seconds)) for session in sessions]
    result = {
        "host": host(),
        "steps": steps,
        "real": _median(real),
        "real_environment": _environment("real", sessions, 1),
    }
    folder = Path(weights) if weights else data_root() / "weights" / "desktop"
    if weights is None and not folder.is_dir():
        return {**result, "neural": None}
    return {**result, **_bench_neural(folder, device, sessions, rows)}


def _median(speeds: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the median of several measurements, field by field."""
    known = {name: [s[name] for s in speeds if s[name] is not None] for name in speeds[0]}
    return {name: float(np.median(values)) if values else None for name, values in known.items()}


def _bench_neural(folder: Path, device: str, sessions: list[Session], rows: int) -> dict[str, Any]:
    from nc_gym.computer.computer import NeuralComputer
    from nc_gym.computer.machine import NeuralMachine

    computer = NeuralComputer.from_pretrained(folder, device=device)

    def measure(count: int, done: list[Session]) -> list[float]:
        machine = NeuralMachine(computer, count)
        everyone = np.ones(count, np.bool_)
        boot(machine)

        def step(events: NDArray[np.int64]) -> None:
            machine.step(events, everyone)
            machine.screens()

        return replay(step, done, count)

    single = [asdict(speed(1, session, measure(1, [session]))) for session in sessions]
    events = np.concatenate([session.events for session in sessions])
    long = Session(np.resize(events, (FLAT_EVENTS, 4)), [], [])
    episode = measure(1, [long])
    return {
        "neural": _median(single),
        "neural_batch": asdict(speed(rows, sessions[0], measure(rows, sessions))),
        "neural_environment": _environment("neural", sessions, rows, str(folder), device),
        "episode_ms": [round(1e3 * s, 3) for s in episode],
        "episode_move_ms": [round(1e3 * s, 3) for s in _moves(long.events, episode)],
    }


def _environment(
    machine: str, sessions: list[Session], rows: int, weights: str | None = None, device: str = "auto"
) -> dict[str, Any]:
    """Measures ``nc_gym/Desktop-v0``: machine, reader, task and info."""
    envs: Any = gym.make_vec("nc_gym/Desktop-v0", num_envs=rows, machine=machine, weights=weights, device=device)
    try:
        envs.reset(seed=0)
        return asdict(speed(rows, sessions[0], replay(envs.step, sessions, rows)))
    finally:
        envs.close()


def cells(name: str, one: dict[str, Any]) -> tuple[str, ...]:
    """Returns what a table says of one measurement: name, rows, steps/s, pointer move, window opening."""
    times = (f"{one[kind]:.1f} ms" if one[kind] else "" for kind in ("move_ms", "open_ms"))
    return (name.replace("_", " "), f"{one['rows']:.0f}", f"{one['steps_per_second']:.0f}", *times)


def table(result: dict[str, Any]) -> Table:
    """Returns the measurements as a table."""
    shown = Table(title=f"Desktop on {result['host']['cpu']}, {result['host']['torch_threads']} threads")
    for column in ("machine", "rows", "steps/s", "pointer move", "window opening"):
        shown.add_column(column, justify="left" if column == "machine" else "right")
    for name in ("real", "real_environment", "neural", "neural_batch", "neural_environment"):
        one = result.get(name)
        if one is not None:
            shown.add_row(*cells(name, one))
    if result.get("episode_ms"):
        shown.caption = flatness(result)
    return shown


def flatness(result: dict[str, Any]) -> str:
    """Returns a sentence on how a step's cost grows along an episode.

    The events of the first and the last tenth differ, and a step costs what it paints; pointer moves are alike.
    """
    all_steps, moves = (
        tuple(float(np.median(part)) for part in (ms[: len(ms) // 10], ms[-(len(ms) // 10) :]))
        for ms in (result["episode_ms"], result["episode_move_ms"])
    )
    return (
        f"{len(result['episode_ms']):,} events in one row: a pointer move takes {moves[0]:.1f} ms in the first and "
        f"{moves[1]:.1f} ms in the last tenth, any event {all_steps[0]:.1f} and {all_steps[1]:.1f} ms"
    )


def show(result: dict[str, Any]) -> None:
    """Prints the table."""
    Console().print(table(result))
    if result["neural"] is None:
        Console().print("weights/desktop does not exist: only the real desktop was measured.")


def write(result: dict[str, Any], path: Path) -> None:
    """Writes the JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result) + "\n", encoding="utf-8")
