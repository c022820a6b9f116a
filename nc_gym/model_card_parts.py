"""Sentences and numbers that the model cards of all neural computers share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nc_gym.fidelity_report import Aim

_REASONS = "[design notes](../../docs/design-notes.md)"  # where they lie from a folder of shipped weights


def number(value: dict[str, float], key: str = "mean") -> str:
    """Returns a number and its interval."""
    return f"{value[key]:.4f} [{value['low']:.4f}, {value['high']:.4f}]"


def measured(result: dict[str, Any]) -> str:
    """Says which command measured, for how long, where, and on how much."""
    host = result["host"]
    machine = f"{host['cpu']}, {host['torch_threads']} threads, torch {host['versions']['torch']}"
    size = f"{result['sessions']} sessions of held-out users, {result['steps']} events each"
    steps = f"{result['denoise_steps']} denoising step(s)"
    return f"`{result['command']}`, {result['minutes']} minutes on {machine}: {size}, {steps}."


def aims_table(aims: Sequence[Aim]) -> str:
    """Returns what is aimed at beside what was measured."""
    return "| aimed at | measured | aim |\n| --- | --- | --- |\n" + "\n".join(map(_row, aims))


def _row(aim: Aim) -> str:
    if isinstance(aim.measured, int):
        return f"| {aim.name} | {aim.measured:,} | {aim.wanted} |"
    return f"| {aim.name} | {number(aim.measured) if aim.measured else 'not measured'} | ≥ {aim.wanted} |"


def missed_aims(aims: Sequence[Aim]) -> str:
    """Says which aims are missed, and where the reasons stand."""
    names = ", ".join(aim.name for aim in aims if not aim.met) or "none"
    return f"Aims that it misses: {names}. What was tried, and where the shipped weights fall short: {_REASONS}."
