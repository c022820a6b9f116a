"""What ``nc-gym bench`` shows: a table in the terminal, a JSON file, and a plot of step times along an episode."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console, Group
from rich.table import Column, Table

WINDOW = 50  # steps per point of the plot


def tables(result: dict[str, Any]) -> Group:
    """Returns the measurements of ``bench_terminal`` as tables."""
    speed = Table(title=f"Terminal on {result['host']['cpu']}, {result['host']['torch_threads']} threads")
    for column in ("machine", "rows", "ms/step", "steps/s", "damage", "env steps/s", "GFLOP/s"):
        speed.add_column(column, justify="left" if column == "machine" else "right")
    rates = result["arithmetic"]["step_gflops"]
    for machine, environment in zip(result["neural"], result["neural_environment"], strict=True):
        rows = str(machine["rows"])
        cells = _speed_cells(machine, environment)
        speed.add_row("neural", *cells, f"{rates[rows]:.1f}")
    half = result["neural_environment_bfloat16"]
    speed.add_row("neural, bfloat16", str(half["rows"]), "", "", "", f"{half['steps_per_second']:.0f}", "")
    speed.add_row("real bash", *_speed_cells(result["real"], result["real_environment"]), "")
    for processes, rate in result["real_processes"].items():  # steps/s of all together
        speed.add_row(f"real bash, {processes} processes", processes, "", f"{rate:.0f}", "", "", "")
    calls = calls_table(result)
    for what, ms in (flatness(result["episode_ms"]) | flatness(result["episode_echo_ms"], "echoed key")).items():
        calls.add_row(what, f"{ms:.2f} ms")
    return Group(speed, calls)


def calls_table(result: dict[str, Any]) -> Table:
    """Returns the times of calls and the machine's matrix-product rates as a table."""
    table = Table("what", Column("measured", justify="right"), title="Calls and arithmetic")
    for name, ms in result["calls_ms"].items():
        table.add_row(name.replace("_", " "), f"{ms:.2f} ms")
    for dtype, rate in result["arithmetic"]["matrix_product_gflops"].items():
        table.add_row(f"matrix product {dtype}", f"{rate:.0f} GFLOP/s")
    return table


def _speed_cells(machine: dict[str, Any], environment: dict[str, Any]) -> list[str]:
    damage = "" if machine["damage"] is None else f"{machine['damage']:.2%}"
    per_second = (f"{machine['steps_per_second']:.0f}", f"{environment['steps_per_second']:.0f}")
    return [str(machine["rows"]), f"{machine['ms_per_step']:.2f}", per_second[0], damage, per_second[1]]


def flatness(episode_ms: list[float], what: str = "step") -> dict[str, float]:
    """Returns the median time of the first and the last tenth of an episode's steps, in milliseconds.

    Args:
        episode_ms: of all steps, or of those of one kind, in order.
        what: the name of their kind.

    Returns:
        Name and time, first and last; nothing if there are fewer than ten steps.
    """
    tenth = len(episode_ms) // 10
    ends = {"first": episode_ms[:tenth], "last": episode_ms[-tenth:]} if tenth else {}
    return {f"{what}, {end} {tenth} of an episode": float(np.median(ms)) for end, ms in ends.items()}


def plot_episode(episode_ms: list[float], path: str | Path) -> None:
    """Writes a PNG of the step time along an episode: median and quartiles of windows of 50 steps."""
    from matplotlib.figure import Figure

    windows = np.array(episode_ms[: len(episode_ms) // WINDOW * WINDOW]).reshape(-1, WINDOW)
    low, middle, high = np.percentile(windows, (25, 50, 75), axis=1)
    steps = (np.arange(len(windows)) + 0.5) * WINDOW
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    axes.fill_between(steps, low, high, alpha=0.3, label="quartiles")
    axes.plot(steps, middle, label=f"median of {WINDOW} steps")
    axes.set(xlabel="step of the episode", ylabel="ms per step", ylim=(0, None), title="neural terminal, one row")
    axes.legend()
    figure.savefig(Path(path), dpi=110)


def write(result: dict[str, Any], path: str | Path) -> None:
    """Writes the JSON file and, beside it, ``bench_flat.png``."""
    write_json(result, path)
    plot_episode(result["episode_ms"], Path(path).with_name("bench_flat.png"))


def write_json(result: dict[str, Any], path: str | Path) -> None:
    """Writes the JSON file."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lists = re.compile(r"\[[^\[\]{}]*\]")
    text = lists.sub(lambda found: " ".join(found[0].split()), json.dumps(result, indent=1))  # one line per list
    path.write_text(text + "\n")


def show(result: dict[str, Any]) -> None:
    """Prints the tables."""
    Console().print(tables(result))
