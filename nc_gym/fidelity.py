"""``nc-gym evaluate terminal``: how faithful a neural terminal is to real bash on held-out users.

Closed loop: the same boot and the same events go into both, and the neural one sees only its own output. Teacher
forcing: the same sessions with a true past. ``DEFINITIONS`` says what each number means; it is part of the JSON file.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nc_gym import fidelity_commands as commands
from nc_gym import fidelity_report as report
from nc_gym import fidelity_scores as scores
from nc_gym.bench import host
from nc_gym.computer.computer import NeuralComputer
from nc_gym.computer.machine import NeuralMachine
from nc_gym.computer.weights import BOOTS, CONFIG, MODEL, sha256
from nc_gym.fidelity_forced import Forced, teacher_forced
from nc_gym.fidelity_run import (
    Run,
    Sessions,
    changed_cells,
    closed_loop,
    held_out_sessions,
    idle_changes,
    join,
    replay,
)
from nc_gym.machines.keys import NOOP
from nc_gym.machines.terminal import BashTerminal
from nc_gym.opening import Options, shared_computer
from nc_gym.paths import data_root
from nc_gym.registration import load_card

STEPS = (10, 25, 50, 100, 200)
PAPER_FRAMES = 5
IDLE_AFTER, IDLE_NOOPS, IDLE_ROWS = 100, 1000, 16

DEFINITIONS = {
    "closed_loop.characters": "after each event, mean over sessions of the share of equal characters among cells that "
    "are non-blank on either screen; one reader reads the pixels of both machines",
    "closed_loop.exact": "share of sessions whose screen has all 480 characters and the cursor right",
    "closed_loop.cursor": "share of sessions whose cursor is at the right cell",
    "closed_loop.pixels": "share of sessions whose screen has all 184,320 colour values right",
    "intervals": f"low and high: 95 % percentile bootstrap over sessions, {scores.RESAMPLES} resamples; "
    "of width 0 where all sessions agree, which does not mean certainty",
    "events.closed_loop": "of the events before which the two screens were exact, the share after which they are exact",
    "events.teacher_forced": "share of events whose whole next screen is drawn right, all pixels, after the true past",
    "events.*.kinds.key": "all events but Enter and the no-op",
    "recall": "cat of one file, by how many commands earlier > or >> last wrote it; shares as in events",
    "idle": "cells in which a no-op changed any pixel, summed over no-ops and sessions",
    "paper": "protocol of arXiv 2604.06425, appendix B.2, on 5 evenly spaced screens per session, the last one "
    "included: lines stripped, runs of spaces collapsed, empty lines dropped; characters: max(0, 1 - edit distance / "
    "length of the true text); lines: share of true lines equal to the line at the same place. The paper runs OCR on "
    "open-loop videos, this the reader in closed loop",
    "first_errors": "the event after which each session's screens first differ: a key, or the family of the command",
}


def evaluate(
    weights: str | Path | None = None,
    out: str | Path = "docs",
    sessions: int = 60,
    steps: int = 200,
    seed: int = 70001,
    device: str = "auto",
    denoise_steps: int | None = None,
    batch: int = 32,
    progress: bool = True,
) -> dict[str, Any]:
    """Measures a neural terminal against real bash; writes fidelity_terminal.json, its plot and a gallery of failures.

    Args:
        weights: weights folder; the shipped one if None.
        out: folder of fidelity_terminal.json, fidelity_terminal.png and failures_terminal.png.
        sessions: how many held-out sessions.
        steps: events of each.
        seed: of the held-out users.
        device: "auto", "cpu" or "cuda".
        denoise_steps: flow steps per tile; as the weights say if None.
        batch: sessions that run side by side.
        progress: show progress bars.

    Returns:
        The content of fidelity_terminal.json.
    """
    for name, value in (("sessions", sessions), ("steps", steps), ("batch", batch)):
        if value < 1:
            raise ValueError(f"{name} is {value}; expected at least 1")
    start = time.perf_counter()
    folder = Path(weights) if weights is not None else data_root() / "weights" / "terminal"
    computer = load_computer(weights, device, denoise_steps)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    typed = held_out_sessions(sessions, steps, seed)
    run = run_batches(computer, typed, batch, progress)
    idle = idle_test(computer, typed, progress)
    result = {
        "command": report.command("terminal", weights, sessions, steps, seed, device, denoise_steps),
        "seed": seed,
        "sessions": len(run.pixels),
        "steps": steps,
        "left_out": sessions - len(run.pixels),
        "users": dict(Counter(run.sessions.users)),
        "denoise_steps": computer.sampler.denoise_steps,
        "device": str(computer.device),
        "batch": batch,
        "weights": {"folder": folder.name, "sha256": {name: sha256(folder / name) for name in (CONFIG, MODEL, BOOTS)}},
        "host": host(),
        "definitions": DEFINITIONS,
        **measure(run, teacher_forced(computer, run, progress)),
        "idle": idle,
    }
    result["minutes"] = round((time.perf_counter() - start) / 60, 2)
    report.write(result, run, out)
    return result


def load_computer(weights: str | Path | None, device: str, denoise_steps: int | None) -> NeuralComputer:
    """Loads the weights and checks that they are a terminal's."""
    task = next(iter(load_card("terminal").environments))
    path = None if weights is None else str(weights)
    return shared_computer(Options("terminal", task, weights=path, device=device, denoise_steps=denoise_steps))


def run_batches(computer: NeuralComputer, typed: Sessions, batch: int, progress: bool) -> Run:
    """Runs all sessions in closed loop, ``batch`` at a time."""
    boots = load_card("terminal").boots
    runs = []
    for start in range(0, len(typed.users), batch):
        chunk = typed.take(np.arange(start, min(start + batch, len(typed.users))))
        with BashTerminal(len(chunk.users), boots) as real:  # type: ignore[arg-type]  # its events are numbers
            runs.append(closed_loop(NeuralMachine(computer, len(chunk.users)), real, chunk, progress))
    return join(runs)


def idle_test(computer: NeuralComputer, typed: Sessions, progress: bool) -> dict[str, Any]:
    """Leaves some neural terminals alone after a part of a session."""
    some = typed.take(np.arange(min(IDLE_ROWS, len(typed.users))))
    first = Sessions(some.users, some.events[:, :IDLE_AFTER], some.families[:, :IDLE_AFTER], some.seeds)
    machine = NeuralMachine(computer, len(first.users))
    replay(machine, first)
    changes = idle_changes(machine, np.full(len(first.users), NOOP), IDLE_NOOPS, changed_cells, progress)
    return {
        "sessions": len(changes),
        "events_before": first.events.shape[1],
        "noops": IDLE_NOOPS,
        "cells_changed": int(changes.sum()),
        "sessions_changed": int((changes > 0).sum()),
    }


def measure(run: Run, forced: Forced) -> dict[str, Any]:
    """Turns what both machines showed into numbers."""
    characters = scores.character_accuracy(run.neural.chars, run.real.chars)
    measured = {"characters": characters, "exact": run.exact, "cursor": run.same_cursor, "pixels": run.pixels}
    values = {name: each[:, 1:].astype(np.float64) for name, each in measured.items()}  # (N, T)
    curves = {name: scores.curve(each) for name, each in values.items()}
    steps = [step for step in STEPS if step <= run.sessions.events.shape[1]]
    return {
        "closed_loop": {name: each["mean"] for name, each in curves.items()},
        "bands": {name: {end: each[end] for end in ("low", "high")} for name, each in curves.items()},
        "at_steps": {
            str(t): {name: {end: each[end][t - 1] for end in ("mean", "low", "high")} for name, each in curves.items()}
            for t in steps
        },
        "over_all_steps": {name: scores.mean_number(each.mean(1)) for name, each in values.items()},
        **events(run, forced.right),
        "tiles_in_codebook": forced.tiles_in_codebook,
        "paper": paper(run),
        "first_errors": first_errors(run),
    }


def events(run: Run, forced: NDArray[np.bool_]) -> dict[str, Any]:
    """Returns the shares of events drawn right, by kind, family, key and distance of recall, in both regimes."""
    groups = {
        "kinds": commands.kinds(run.sessions),
        "families": commands.families(run.sessions),
        "keys": commands.named_keys(run.sessions),
    }
    recalled = commands.recall(run.sessions, run.real)
    regimes = {"closed_loop": (run.exact[:, 1:], run.exact[:, :-1]), "teacher_forced": (forced, np.ones_like(forced))}

    def shares(masks: commands.Masks, regime: str) -> dict[str, scores.Number]:
        return scores.share_numbers(*regimes[regime], masks)

    return {
        "events": {regime: {name: shares(masks, regime) for name, masks in groups.items()} for regime in regimes},
        "recall": {regime: shares(recalled, regime) for regime in regimes},
        "arithmetic": {
            regime: shares({"native": commands.arithmetic(run.sessions)}, regime).get("native") for regime in regimes
        },
    }


def paper(run: Run) -> dict[str, Any]:
    """Returns the paper's character and exact-line accuracy."""
    steps = run.sessions.events.shape[1]
    frames = sorted({max(1, round(steps * k / PAPER_FRAMES)) for k in range(1, PAPER_FRAMES + 1)})
    texts = [
        [(scores.text_lines(neural[t]), scores.text_lines(real[t])) for t in frames]
        for neural, real in zip(run.neural.chars, run.real.chars, strict=True)
    ]
    characters, lines = (
        np.array([np.mean([metric(*pair) for pair in session]) for session in texts])
        for metric in (scores.paper_characters, scores.paper_lines)
    )
    return {"steps": frames, "characters": scores.mean_number(characters), "lines": scores.mean_number(lines)}


def first_errors(run: Run) -> dict[str, int]:
    """Counts the sessions that never went wrong, and the others by the event that was the first to."""
    names = (
        "never" if case is None else commands.event_name(run.sessions, n, case.step)
        for n, case in enumerate(run.divergences)
    )
    return dict(Counter(names).most_common())
