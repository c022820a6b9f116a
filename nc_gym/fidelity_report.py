"""What ``nc-gym evaluate`` leaves behind: a JSON file, accuracy plotted against step, pictures of first mistakes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from nc_gym.comparison import side_by_side, text_line
from nc_gym.fidelity_commands import ENTER, command_line, event_name
from nc_gym.fidelity_run import Divergence, Run
from nc_gym.machines.keys import KEYS

JSON, PLOT, GALLERY = "fidelity_terminal.json", "fidelity_terminal.png", "failures_terminal.png"
GALLERY_SIZE = 8
_CURVES = {"characters": "characters right", "exact": "exact screens", "cursor": "cursor right"}
_SEPARATOR = 16  # dark pixel rows between two cases
TARGETS: dict[str, tuple[tuple[str, ...], float]] = {
    "characters right at event 50": (("at_steps", "50", "characters"), 0.995),
    "characters right at event 200": (("at_steps", "200", "characters"), 0.98),
    "exact screens at event 50": (("at_steps", "50", "exact"), 0.95),
    "exact screens at event 200": (("at_steps", "200", "exact"), 0.80),
    "teacher-forced keys right": (("events", "teacher_forced", "kinds", "key"), 0.999),
}
"""What is aimed at: name -> (where it stands in the JSON file; at least how much)."""


@dataclass(frozen=True)
class Aim:
    """What is aimed at, and what was measured.

    Attributes:
        name: of the number.
        measured: a share ("mean", "low", "high"), or a count; None if it was not measured.
        wanted: a share at least so large, a count at most.
    """

    name: str
    measured: dict[str, float] | int | None
    wanted: float

    @property
    def met(self) -> bool:
        """Whether the aim is reached; what was not measured is not."""
        if self.measured is None:
            return False
        return self.measured <= self.wanted if isinstance(self.measured, int) else self.measured["mean"] >= self.wanted

    @property
    def verdict(self) -> str:
        """Says "met" or "missed"; nothing if it was not measured."""
        return "" if self.measured is None else "met" if self.met else "missed"


def share(number: dict[str, float] | None) -> dict[str, float] | None:
    """Returns a number of the JSON file with its value as "mean", which it may call "share"."""
    if number is None:
        return None
    value = number["share" if "share" in number else "mean"]
    return {"mean": value, "low": number["low"], "high": number["high"]}


def idle_aim(idle: dict[str, Any], unit: str) -> Aim:
    """Returns the aim that no-ops change nothing; ``unit`` is "cells" or "pixels"."""
    return Aim(f"{unit} changed by {idle['noops']:,} no-ops", idle[f"{unit}_changed"], 0)


def aims(result: dict[str, Any]) -> list[Aim]:
    """Returns each of ``TARGETS``, and that no-ops change no cell, beside what was measured."""
    found = []
    for name, (path, wanted) in TARGETS.items():
        number: Any = result
        for key in path:
            number = number.get(key, {})
        found.append(Aim(name, share(number or None), wanted))
    return [*found, idle_aim(result["idle"], "cells")]


def command(
    computer: str,
    weights: str | Path | None,
    sessions: int,
    steps: int,
    seed: int,
    device: str,
    denoise_steps: int | None,
    lpips: str | Path | None = None,
) -> str:
    """Returns the command line that measures the same again."""
    words = [f"nc-gym evaluate {computer}"]
    words += [f"--weights {weights}"] if weights is not None else []
    words += [f"--sessions {sessions} --steps {steps} --seed {seed} --device {device}"]
    words += [f"--denoise-steps {denoise_steps}"] if denoise_steps is not None else []
    words += [f"--lpips {Path(lpips).name}"] if lpips is not None else []
    return " ".join(words)


def write(result: dict[str, Any], run: Run, out: Path) -> None:
    """Writes all three files into the folder ``out``."""
    (out / JSON).write_text(dumps(result), encoding="utf-8")
    plot(result, _CURVES, "Neural terminal against real bash", out / PLOT)
    imageio.imwrite(out / GALLERY, gallery(run))


def dumps(result: dict[str, Any]) -> str:
    """Returns JSON with numbers to six decimals and every list on one line."""
    text = json.dumps(_rounded(result), indent=1)
    return re.sub(r"\[[^\[\]{}]*\]", lambda found: " ".join(found[0].split()), text) + "\n"


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return round(value, 6) if isinstance(value, float) else value


def plot(result: dict[str, Any], labels: Mapping[str, str], title: str, path: Path) -> None:
    """Draws curves of ``result["closed_loop"]`` against step, with 95 % bands; ``labels`` names them in the legend."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    steps = np.arange(1, result["steps"] + 1)
    for name, label in labels.items():
        [line] = axes.plot(steps, result["closed_loop"][name], label=label)
        band = result["bands"][name]
        axes.fill_between(steps, band["low"], band["high"], color=line.get_color(), alpha=0.2, linewidth=0)
    axes.set(xlabel="event", ylabel="share", ylim=(0, 1.02), xlim=(0, result["steps"]))
    axes.set_title(f"{title}, closed loop, {result['sessions']} held-out sessions")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
    figure.savefig(path, dpi=120)


def gallery(run: Run) -> NDArray[np.uint8]:
    """Returns a picture of first mistakes, neural beside real, uint8 (H, W, 3): the earliest of each kind first."""
    failed = _by_kind(run)
    if not failed:
        count, steps = run.sessions.events.shape
        return text_line(f"All {count} sessions agree at each of {steps} steps.", width=656, scale=1)
    frames = [side_by_side(case.neural, case.real, title(run, n, case), scale=1) for case, n in failed[:GALLERY_SIZE]]
    return stack(frames)


def stack(frames: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Returns pictures (H, W, 3) of one width below each other, with some dark rows between them."""
    gap = np.zeros((_SEPARATOR, frames[0].shape[1], 3), np.uint8)
    return np.concatenate([part for frame in frames for part in (frame, gap)][:-1])


def _by_kind(run: Run) -> list[tuple[Divergence, int]]:
    """Returns each session's first mistake: the earliest of every kind of event, then the second of each, ..."""
    failed = [(divergence, n) for n, divergence in enumerate(run.divergences) if divergence is not None]
    failed.sort(key=lambda case: (case[0].step, case[1]))
    names = [event_name(run.sessions, n, case.step) for case, n in failed]
    ranks = [names[:i].count(name) for i, name in enumerate(names)]
    return [failed[i] for i in sorted(range(len(failed)), key=lambda i: (ranks[i], i))]


def title(run: Run, n: int, case: Divergence) -> str:
    """Names a case: session, step, and what was typed."""
    if case.step == 0:
        return f"session {n}, after the boot"
    t = case.step - 1
    event, before = int(run.sessions.events[n, t]), command_line(run.real.chars[n, t], int(run.real.cursors[n, t, 0]))
    typed = f"Enter after: {before}" if event == ENTER else f"key {KEYS[event]} in: {before}"
    return f"session {n}, step {case.step}, {typed}"


def table(result: dict[str, Any]) -> Table:
    """Returns the main numbers for the console."""
    made = Table(
        title=f"{result['sessions']} held-out sessions of {result['steps']} events, {result['minutes']:.1f} minutes"
    )
    made.add_column("closed loop")
    for step in (*result["at_steps"], "mean of all"):
        made.add_column(f"step {step}" if step.isdigit() else step, justify="right")
    for name, label in {**_CURVES, "pixels": "pixel-exact screens"}.items():
        numbers = [
            *(each[name]["mean"] for each in result["at_steps"].values()),
            result["over_all_steps"][name]["mean"],
        ]
        made.add_row(label, *(f"{number:.4f}" for number in numbers))
    kinds = result["events"]["teacher_forced"]["kinds"]
    shares = ", ".join(f"{name} {each['share']:.4f} of {each['events']}" for name, each in kinds.items())
    idle, protocol = result["idle"], result["paper"]
    made.caption = (
        f"Teacher-forced events exact: {shares}. {idle['noops']} no-ops in {idle['sessions']} sessions: "
        f"{idle['cells_changed']} cells changed. Paper's protocol: characters {protocol['characters']['mean']:.4f}, "
        f"lines {protocol['lines']['mean']:.4f}."
    )
    return made
