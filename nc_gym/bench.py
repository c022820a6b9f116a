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
from itertools import cycle
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from nc_gym.computer.computer import NeuralComputer
from nc_gym.computer.machine import NeuralMachine
from nc_gym.computer.weights import MODEL, sha256
from nc_gym.machines.keys import KEYS
from nc_gym.machines.machine import Machine
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
FLOP_ROWS = 4  # whose mean stands for the operations of any row
ECHO_TILES = 2


def measure_environment(
    rows: int, seconds: float, machine: str, weights: str | None = None, device: str = "auto", dtype: str | None = None
) -> Speed:
    """Measures ``nc_gym/Terminal-v0``: ``gym.make`` for one row, ``gym.make_vec`` for more."""
    kwargs: dict[str, Any] = {"machine": machine, "weights": weights, "device": device, "dtype": dtype}
    single = gym.make("nc_gym/Terminal-v0", **kwargs) if rows == 1 else None
    env: Any = single or gym.make_vec("nc_gym/Terminal-v0", num_envs=rows, **kwargs)

    def step(events: NDArray[np.int64]) -> None:
        _, _, terminated, truncated, _ = env.step(int(events[0]) if single else events)
        if single and (terminated or truncated):
            env.reset()

    try:
        env.reset(seed=0)
        return measure(step, rows, seconds)
    finally:
        env.close()


def matrix_rate(dtype: torch.dtype, device: torch.device, size: int = 1024) -> float:
    """Returns the GFLOP/s of a square matrix product, the best of seven."""
    left = torch.ones(size, size, dtype=dtype, device=device)
    left @ left
    times = []
    for _ in range(7):
        wait_for(device)
        start = time.perf_counter()
        left @ left
        wait_for(device)
        times.append(time.perf_counter() - start)
    return 2e-9 * size**3 / min(times)


def wait_for(device: torch.device) -> None:
    """Waits until the device has done what it was asked for; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _attention_flops(q: torch.Size, k: torch.Size, v: torch.Size, *_: object, **__: object) -> int:
    return int(sdpa_flop_count(q, k, v))


def step_flops(machine: NeuralMachine, events: NDArray[np.int64]) -> float:
    """Returns the mean floating-point operations of one step of all rows (matrix products and attention).

    Args:
        machine: booted rows.
        events: of some steps, (steps, rows) or (steps, rows, 4).
    """
    step = machine_step(machine)
    attention = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops}  # torch has none of it
    with FlopCounterMode(display=False, custom_mapping=attention) as counter:
        for event in events:
            step(event)
    return counter.get_total_flops() / len(events)


def episode(machine: NeuralMachine, events: NDArray[np.int64]) -> dict[str, list[float]]:
    """Returns the milliseconds of one long episode: of every step, and of the keys that echo one character.

    Steps cost what they draw, and what the users do early and late differs; echoes are alike.

    Args:
        machine: one row of a terminal.
        events: (steps, 1).
    """
    boot(machine)
    step = machine_step(machine)
    times, shares = np.empty(len(events)), np.empty(len(events))
    for i, event in enumerate(events):
        start = time.perf_counter()
        shares[i] = step(event)
        times[i] = 1e3 * (time.perf_counter() - start)
    echoed = echoes(events[:, 0], np.rint(shares * machine.computer.config.num_tiles))
    return {"episode_ms": times.round(3).tolist(), "episode_echo_ms": times[echoed].round(3).tolist()}


def echoes(keys: NDArray[np.int64], tiles: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Says which steps (steps,) only echo: a printable key, and two tiles drawn, its character and the cursor."""
    return np.array([len(KEYS[key]) == 1 for key in keys]) & (tiles == ECHO_TILES)


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
    from nc_gym.fidelity import load_computer  # it imports this module

    folder = Path(weights) if weights else data_root() / "weights" / "terminal"
    computer = load_computer(weights, device, None)
    neural, environments = [], []
    for rows in track(batches, description="neural", transient=True):
        machine = NeuralMachine(computer, rows)
        neural.append(asdict(measure_machine(machine, seconds)))
        environments.append(asdict(measure_environment(rows, seconds, "neural", weights, device)))
    few = NeuralMachine(computer, FLOP_ROWS)
    boot(few)
    flops = step_flops(few, user_events(FLOP_ROWS, SESSION_STEPS)) / FLOP_ROWS
    with BashTerminal(1) as real:
        return {
            "host": host(),
            "weights": weights_entry(folder, computer),
            "neural": neural,
            "neural_environment": environments,
            "neural_environment_bfloat16": asdict(
                measure_environment(FORK_ROWS, seconds, "neural", weights, device, "bfloat16")
            ),
            "real": asdict(measure_machine(real, seconds)),
            "real_environment": asdict(measure_environment(1, seconds, "real")),
            "real_processes": {str(n): measure_real_processes(n, seconds) for n in (1, 2)},
            "calls_ms": calls(computer, real, user_events(FORK_ROWS, 2 * SESSION_STEPS)),
            "arithmetic": arithmetic(computer.device, neural, {str(rows): flops * rows for rows in batches}),
            **episode(NeuralMachine(computer, 1), user_events(1, episode_steps)),
        }


def weights_entry(folder: Path, computer: NeuralComputer) -> dict[str, Any]:
    """Returns what says which weights were measured."""
    return {
        "folder": folder.name,
        "denoise_steps": computer.config.denoise_steps,
        "sha256": sha256(folder / MODEL),
    }


def calls(computer: NeuralComputer, real: Machine, events: NDArray[np.int64]) -> dict[str, float]:
    """Returns milliseconds of resets, and of a step of ``FORK_ROWS`` rows and a fork of one of them into as many.

    Fork and step are of rows that remember the first half of the events. A fork's first step copies what they
    remember, which grows with memory, so a fork with its first step is measured, too.

    Args:
        computer: the neural computer.
        real: one row of the real one.
        events: of at least four steps of ``FORK_ROWS`` rows.
    """
    fresh, many = NeuralMachine(computer, 1), NeuralMachine(computer, FORK_ROWS)
    resets = [measure_calls(lambda machine=each: boot(machine)) for each in (fresh, many)]  # type: ignore[misc]
    step = machine_step(many)
    earlier, later = np.array_split(events, 2)
    for event in earlier:
        step(event)

    def fork() -> None:
        many.fork(0, FORK_ROWS)
        wait_for(computer.device)

    coming, remaining = cycle(later), iter(later)  # forks and rows get the same events

    def fork_and_step() -> None:
        machine_step(many.fork(0, FORK_ROWS))(next(coming))

    forked, forked_and_stepped = measure_calls(fork), measure_calls(fork_and_step)
    return {
        "neural_reset_1": resets[0],
        f"neural_reset_{FORK_ROWS}": resets[1],
        f"neural_fork_{FORK_ROWS}": forked,
        f"neural_fork_and_step_{FORK_ROWS}": forked_and_stepped,
        f"neural_step_{FORK_ROWS}": measure_calls(lambda: step(next(remaining)), len(later) - 1),
        "real_reset_1": measure_calls(lambda: boot(real)),
    }


def arithmetic(device: torch.device, neural: list[dict[str, Any]], flops: dict[str, float]) -> dict[str, Any]:
    """Returns the machine's matrix-product rates beside those that the steps achieve, in GFLOP/s.

    Args:
        device: of the network.
        neural: speeds, one per number of rows.
        flops: number of rows -> mean floating-point operations of one step of all rows.
    """
    return {
        "matrix_product_gflops": {
            str(dtype).removeprefix("torch."): matrix_rate(dtype, device) for dtype in (torch.float32, torch.bfloat16)
        },
        "step_mflop_per_row": {rows: flops[rows] / int(rows) / 1e6 for rows in flops},
        "step_gflops": {
            str(s["rows"]): flops[str(s["rows"])] / s["rows"] * s["steps_per_second"] / 1e9 for s in neural
        },
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
