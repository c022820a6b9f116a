"""``nc-gym bench desktop``: how fast the neural desktop is, beside the real one, under the same events.

Held-out users act on real desktops; what they did is done again in the neural ones. A step is one event and a fresh
copy of the settled screen. Steps that only move the pointer and steps that open a window are also reported apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from nc_gym.bench import BATCHES, FORK_ROWS, arithmetic, calls, host, step_flops, weights_entry
from nc_gym.bench_report import calls_table, write_json
from nc_gym.computer.computer import NeuralComputer
from nc_gym.computer.machine import NeuralMachine
from nc_gym.desktop_fidelity import load_computer
from nc_gym.machines.desktop import XDesktop
from nc_gym.paths import data_root
from nc_gym.stopwatch import boot, machine_step
from nc_gym.traces.desktop_mix import DEFAULT_MIX, make_user, session_user

SEED = 21_000  # of the users
SESSIONS = 10  # different ones, which many rows share
ROWS = 32  # of the batch that stands for all
FLAT_EVENTS = 1000  # of the episode along which the step time is followed


@dataclass
class DesktopSpeed:
    """How fast one machine steps.

    Attributes:
        rows: rows stepped together.
        steps: measured steps.
        ms_per_step: median milliseconds of a step of all rows.
        steps_per_second: rows × steps over the whole time.
        damage: mean share of tiles denoised per step; None for real machines and environments.
        move_ms: median milliseconds of the steps that only move the (only) row's pointer, dragging or not.
        open_ms: the same of steps that open a window.
    """

    rows: int
    steps: int
    ms_per_step: float
    steps_per_second: float
    damage: float | None = None
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
    user = make_user(session_user(SEED, index, "eval", DEFAULT_MIX), SEED, index, "eval")
    events: list[tuple[int, ...]] = []
    purposes: list[str] = []
    seconds: list[float] = []
    with XDesktop(1) as machine:
        boot(machine)
        step = machine_step(machine)
        while len(events) < steps:
            for act in user.plan(machine.windows(0)):
                start = time.perf_counter()
                step(np.array([act.event], np.int64))
                seconds.append(time.perf_counter() - start)
                events.append(act.event)
                purposes.append(act.purpose)
    return Session(np.array(events[:steps], np.int64), purposes[:steps], seconds[:steps])


def speed(rows: int, session: Session, seconds: list[float], damage: float | None = None) -> DesktopSpeed:
    """Returns the speed of ``rows`` rows whose steps under a session took so many ``seconds``."""
    moves = _moves(session.events, seconds)
    opened = [
        s
        for s, e, purpose in zip(seconds, session.events, session.purposes, strict=False)
        if purpose.startswith("open ") and purpose != "open menu" and e[2]
    ]
    kinds = [1e3 * float(np.median(kind)) if kind and rows == 1 else None for kind in (moves, opened)]
    rate = rows * len(seconds) / sum(seconds)
    return DesktopSpeed(rows, len(seconds), 1e3 * float(np.median(seconds)), rate, damage, *kinds)


def _moves(events: NDArray[np.int64], seconds: list[float]) -> list[float]:
    """Returns the seconds of the steps that only point somewhere else; nearly all of them paint nothing."""
    moved = (np.diff(events[:, :2], axis=0, prepend=events[:1, :2]) != 0).any(1)
    return [s for s, event, moves in zip(seconds, events, moved, strict=False) if moves and not event[2:].any()]


def stacked(sessions: list[Session], rows: int) -> NDArray[np.int64]:
    """Returns the events of ``rows`` rows that share the sessions, (steps, rows, 4)."""
    return np.stack([sessions[row % len(sessions)].events for row in range(rows)], axis=1)


def replay(step: Callable[[NDArray[np.int64]], object], events: NDArray[np.int64]) -> list[float]:
    """Does again what users did, events (steps, rows, 4), and returns the seconds of each step."""
    seconds = []
    for event in events:
        start = time.perf_counter()
        step(event)
        seconds.append(time.perf_counter() - start)
    return seconds


def bench_desktop(
    weights: str | None = None, device: str = "auto", steps: int = 150, batches: tuple[int, ...] = BATCHES,
    flat_events: int = FLAT_EVENTS,
) -> dict[str, Any]:  # fmt: skip
    """Measures both desktops, in about three minutes; without weights in the default place, only the real one.

    Args:
        weights: weights folder, by default the shipped one.
        device: "auto", "cpu" or "cuda".
        steps: events per user.
        batches: numbers of neural rows; 1 and ``ROWS`` are among them.
        flat_events: length of the episode along which the step time is followed.

    Returns:
        The content of ``docs/bench_desktop.json``.
    """
    folder = Path(weights) if weights else data_root() / "weights" / "desktop"
    computer = load_computer(folder, device, None) if weights or folder.is_dir() else None
    sessions = [record(index, steps) for index in track(range(SESSIONS), description="real", transient=True)]
    everything = _joined(sessions)
    result = {
        "host": host(),
        "steps": steps,
        "real": asdict(speed(1, everything, everything.seconds)),
        "real_environment": _environment("real", sessions, 1),
    }
    if computer is None:
        return {**result, "neural": None}
    with XDesktop(1) as real:
        times = calls(computer, real, stacked(sessions, FORK_ROWS))
    return {
        **result,
        "weights": weights_entry(folder, computer),
        **_speeds(computer, sessions, batches),
        "neural_environment": _environment("neural", sessions, ROWS, str(folder), device),
        "calls_ms": times,
        **_episode(computer, np.resize(everything.events, (flat_events, 4))),
    }


def _joined(sessions: list[Session]) -> Session:
    """Returns sessions one after the other, as one."""
    return Session(
        np.concatenate([session.events for session in sessions]),
        [purpose for session in sessions for purpose in session.purposes],
        [second for session in sessions for second in session.seconds],
    )


def _speeds(computer: NeuralComputer, sessions: list[Session], batches: tuple[int, ...]) -> dict[str, Any]:
    """Measures each number of rows, and what arithmetic their steps are."""
    found = {}
    for rows in track(batches, description="neural", transient=True):
        runs = [[session] for session in sessions] if rows == 1 else [sessions]  # one row does what all users did
        done = [_drive(NeuralMachine(computer, rows), stacked(run, rows)) for run in runs]
        seconds = [second for each, _ in done for second in each]
        damage = float(np.mean([share for _, share in done]))
        found[rows] = asdict(speed(rows, _joined(sessions), seconds, damage))
    machine = NeuralMachine(computer, SESSIONS)
    boot(machine)
    flops = step_flops(machine, stacked(sessions, SESSIONS)) / SESSIONS  # of one row; all batches share the events
    speeds = list(found.values())
    return {
        "neural": found[1],
        "neural_batch": found[ROWS],
        "neural_batches": speeds,
        "arithmetic": arithmetic(computer.device, speeds, {str(rows): flops * rows for rows in found}),
    }


def _drive(machine: NeuralMachine, events: NDArray[np.int64]) -> tuple[list[float], float]:
    """Boots a machine and returns the seconds of its steps, and the mean share of tiles that they denoised."""
    boot(machine)
    step = machine_step(machine)
    shares: list[float] = []
    seconds = replay(lambda event: shares.append(step(event) or 0.0), events)
    return seconds, float(np.mean(shares))


def _episode(computer: NeuralComputer, events: NDArray[np.int64]) -> dict[str, list[float]]:
    """Returns the milliseconds of one long episode under events (steps, 4).

    Of every step, and of the steps that left the screen under the pointer as it was.
    """
    machine = NeuralMachine(computer, 1)
    boot(machine)
    step = machine_step(machine)
    seconds: list[float] = []
    still: list[float] = []
    for event in events:
        before = machine.state.codes.clone()
        seconds += replay(step, event[None, None])
        if torch.equal(before, machine.state.codes):
            still.append(seconds[-1])
    kinds = {"episode_ms": seconds, "episode_still_ms": still}
    return {name: [round(1e3 * s, 3) for s in kind] for name, kind in kinds.items()}


def _environment(
    machine: str, sessions: list[Session], rows: int, weights: str | None = None, device: str = "auto"
) -> dict[str, Any]:
    """Measures ``nc_gym/Desktop-v0``: machine, reader, task and info."""
    envs: Any = gym.make_vec("nc_gym/Desktop-v0", num_envs=rows, machine=machine, weights=weights, device=device)
    try:
        envs.reset(seed=0)
        return asdict(speed(rows, sessions[0], replay(envs.step, stacked(sessions, rows))))
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


def rows_table(result: dict[str, Any]) -> Table:
    """Returns what a step of 1, 8, 32 and more neural rows takes, draws and computes."""
    shown = Table(title="Neural rows stepped together")
    for column in ("rows", "ms/step", "steps/s", "tiles denoised", "GFLOP/s"):
        shown.add_column(column, justify="right")
    rates = result["arithmetic"]["step_gflops"]
    for one in result["neural_batches"]:
        rows = str(one["rows"])
        times = (f"{one['ms_per_step']:.1f}", f"{one['steps_per_second']:.0f}")
        shown.add_row(rows, *times, f"{one['damage']:.2%}", f"{rates[rows]:.1f}")
    return shown


def flatness(result: dict[str, Any]) -> str:
    """Returns a sentence on how a step's cost grows along an episode: it costs what it paints, so by tenths."""
    tenths = (np.array_split(result[name], 10) for name in ("episode_ms", "episode_still_ms"))
    every, still = (", ".join(f"{np.median(tenth):.1f}" for tenth in kind if len(tenth)) for kind in tenths)
    return (
        f"{len(result['episode_ms']):,} events in one row, medians of their tenths in ms: {every}; of those that "
        f"change nothing: {still or 'there were none'}"
    )


def tables(result: dict[str, Any]) -> list[Table | str]:
    """Returns all that there is to print."""
    if result["neural"] is None:
        return [table(result), "weights/desktop does not exist: only the real desktop was measured."]
    return [table(result), rows_table(result), calls_table(result)]


def show(result: dict[str, Any]) -> None:
    """Prints the tables."""
    Console().print(*tables(result))


def write(result: dict[str, Any], path: Path) -> None:
    """Writes the JSON file."""
    write_json(result, path)
