"""Sentences and numbers that the model cards of all neural computers share."""

from __future__ import annotations

from typing import Any


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
