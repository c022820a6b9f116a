"""``nc-gym bench terminal``: how fast the neural terminal is, beside real bash on the same machine.

Both get the evaluation's held-out users typing. A machine step is one event and a fresh copy of the settled screen; an
environment step adds the reader, the task and the info. Every number is measured where the command runs.
"""

from __future__ import annotations

import os
import platform
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch.utils.flop_counter import FlopCounterMode

from nc_gym.computer.computer import NeuralComputer
from nc_gym.computer.machine import NeuralMachine
from nc_gym.computer.weights import MODEL, sha256
from nc_gym.machines.terminal import BashTerminal
from nc_gym.paths import data_root
from nc_gym.stopwatch import (
    SESSION_STEPS,
    Speed,
    boot,
    machine_step,
    measure,
    measure_calls,
    measure_machine,
    measure_real_processes,
    user_events,
)

BATCHES = (1, 8, 32, 128)
EPISODE_STEPS = 2000
FORK_ROWS = 32


def measure_environment(
    rows: int, seconds: float, machine: str, weights: str | None = None, device: str = "auto"
) -> Speed:
    """Measures ``nc_gym/Terminal-v0``: ``gym.make`` for one row, ``gym.make_vec`` for more."""
    kwargs: dict[str, Any] = {"machine": machine, "weights": weights, "device": device}
    single = gym.make("nc_gym/Terminal-v0", **kwargs) if rows == 1 else None
    env: Any = single or gym.make_vec("nc_gym/Terminal-v0", num_envs=rows, **kwargs)
    env.reset(seed=0)

    def step(events: NDArray[np.int64]) -> None:
        _, _, terminated, truncated, _ = env.step(int(events[0]) if single else events)
        if single and (terminated or truncated):
            env.reset()

    try:
        return measure(step, rows, seconds)
    finally:
        env.close()


def matrix_rate(dtype: torch.dtype, size: int = 1024) -> float:
    """Returns the GFLOP/s of a square matrix product, the best of seven."""
    left = torch.ones(size, size, dtype=dtype)
    left @ left
    times = []
    for _ in range(7):
        start = time.perf_counter()
        left @ left
        times.append(time.perf_counter() - start)
    return 2e-9 * size**3 / min(times)


def step_flops(machine: NeuralMachine, steps: int = 10) -> float:
    """Returns the mean floating-point operations of one step of all rows (matrix products and attention)."""
    step = machine_step(machine)
    events = user_events(machine.num_rows, SESSION_STEPS)
    with FlopCounterMode(display=False) as counter:
        for i in range(steps):
            step(events[i])
    return counter.get_total_flops() / steps


def episode_times(machine: NeuralMachine, steps: int) -> NDArray[np.float64]:
    """Returns the milliseconds of every step of one long episode, float64 (steps,)."""
    boot(machine)
    step = machine_step(machine)
    times = np.empty(steps)
    for i, events in enumerate(user_events(machine.num_rows, steps)):
        start = time.perf_counter()
        step(events)
        times[i] = time.perf_counter() - start
    return 1e3 * times


def bench_terminal(
    weights: str | None = None, device: str = "auto", seconds: float = 4.0, batches: tuple[int, ...] = BATCHES,
    episode_steps: int = EPISODE_STEPS,
) -> dict[str, Any]:  # fmt: skip
    """Measures everything; about two minutes with the defaults.

    Args:
        weights: weights folder, by default the shipped one.
        device: "auto", "cpu" or "cuda".
        seconds: how long each speed is measured.
        batches: numbers of neural rows.
        episode_steps: length of the episode along which the step time is followed.

    Returns:
        The content of ``docs/bench_terminal.json``.
    """
    folder = Path(weights) if weights else data_root() / "weights" / "terminal"
    computer = NeuralComputer.from_pretrained(folder, device=device)
    neural, environments, flops = [], [], {}
    for rows in track(batches, description="neural", transient=True):
        machine = NeuralMachine(computer, rows)
        neural.append(asdict(measure_machine(machine, seconds)))
        flops[str(rows)] = step_flops(machine)
        environments.append(asdict(measure_environment(rows, seconds, "neural", weights, device)))
    real = BashTerminal(1)
    real_speed = asdict(measure_machine(real, seconds))
    result = {
        "host": host(),
        "weights": {
            "folder": folder.name,
            "denoise_steps": computer.config.denoise_steps,
            "sha256": sha256(folder / MODEL),
        },
        "neural": neural,
        "neural_environment": environments,
        "real": real_speed,
        "real_environment": asdict(measure_environment(1, seconds, "real")),
        "real_processes": {str(n): measure_real_processes(n, seconds) for n in (1, 2)},
        "calls_ms": calls(computer, real),
        "arithmetic": arithmetic(neural, flops),
        "episode_ms": [round(float(ms), 3) for ms in episode_times(NeuralMachine(computer, 1), episode_steps)],
    }
    real.close()
    return result


def calls(computer: NeuralComputer, real: BashTerminal) -> dict[str, float]:
    """Returns milliseconds of resets, a fork of ``FORK_ROWS`` rows, and a step of that many."""
    one, many = NeuralMachine(computer, 1), NeuralMachine(computer, FORK_ROWS)
    boot(one)
    boot(many)
    step = machine_step(many)
    events = iter(user_events(FORK_ROWS, SESSION_STEPS))
    return {
        "neural_reset_1": measure_calls(lambda: boot(one)),
        f"neural_reset_{FORK_ROWS}": measure_calls(lambda: boot(many)),
        f"neural_fork_{FORK_ROWS}": measure_calls(lambda: one.fork(0, FORK_ROWS)),
        f"neural_step_{FORK_ROWS}": measure_calls(lambda: step(next(events))),
        "real_reset_1": measure_calls(lambda: boot(real)),
    }


def arithmetic(neural: list[dict[str, Any]], flops: dict[str, float]) -> dict[str, Any]:
    """Returns the machine's matrix-product rates beside those that the steps achieve, in GFLOP/s."""
    return {
        "matrix_product_gflops": {"float32": matrix_rate(torch.float32), "bfloat16": matrix_rate(torch.bfloat16)},
        "step_mflop_per_row": {rows: flops[rows] / int(rows) / 1e6 for rows in flops},
        "step_gflops": {str(s["rows"]): flops[str(s["rows"])] / s["ms_per_step"] / 1e6 for s in neural},
    }


def host() -> dict[str, Any]:
    """Returns what the numbers depend on: processor, cores, threads, versions."""
    names = ("nc-gym", "torch", "numpy", "gymnasium")
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in names},
    }


def cpu_model() -> str:
    """Returns the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
