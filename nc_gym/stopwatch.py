"""Timing machines: steps under held-out users' keys, calls, and real terminals in processes of their own.

It needs no torch, so that the processes that drive real terminals start quickly.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier

import numpy as np
from numpy.typing import NDArray

from nc_gym.machines.machine import Machine
from nc_gym.machines.terminal import BashTerminal
from nc_gym.traces.users import DEFAULT_MIX, session_events, session_user

SESSION_STEPS = 200  # the evaluation's session length
SEED = 20_000  # of the users


@dataclass
class Speed:
    """How fast one machine or environment steps.

    Attributes:
        rows: rows stepped together.
        steps: measured steps.
        ms_per_step: median milliseconds of a step of all rows.
        steps_per_second: rows × steps over the whole time.
        damage: mean share of tiles denoised per step; None for real machines.
    """

    rows: int
    steps: int
    ms_per_step: float
    steps_per_second: float
    damage: float | None = None


def user_events(rows: int, steps: int) -> NDArray[np.int64]:
    """Returns what ``rows`` held-out users type, int64 (steps, rows); a user that is done is followed by a new one."""
    columns = []
    for row in range(rows):
        events: list[int] = []
        index = row
        while len(events) < steps:
            user = session_user(SEED, index, "eval", DEFAULT_MIX)
            events += [event for event, _ in session_events(user, SEED, index, "eval", SESSION_STEPS)]
            index += rows
        columns.append(events[:steps])
    return np.array(columns, np.int64).T


def measure(step: Callable[[NDArray[np.int64]], float | None], rows: int, seconds: float, warmup: int = 5) -> Speed:
    """Steps for about ``seconds``.

    Args:
        step: sends the events (rows,), waits for the screens and returns the share of tiles denoised (None: unknown).
        rows: rows per step.
        seconds: how long to measure; at least ten steps are made.
        warmup: unmeasured steps before.
    """
    events = user_events(rows, SESSION_STEPS)
    times: list[float] = []
    damage: list[float] = []
    done = -warmup
    while done < 10 or sum(times) < seconds:
        start = time.perf_counter()
        share = step(events[done % SESSION_STEPS])
        if done >= 0:
            times.append(time.perf_counter() - start)
            if share is not None:
                damage.append(share)
        done += 1
    return Speed(
        rows=rows,
        steps=len(times),
        ms_per_step=1e3 * float(np.median(times)),
        steps_per_second=rows * len(times) / sum(times),
        damage=float(np.mean(damage)) if damage else None,
    )


def boot(machine: Machine) -> None:
    """Resets every row to boot 0."""
    rows = np.ones(machine.num_rows, np.bool_)
    machine.reset(rows, np.arange(machine.num_rows), np.zeros(machine.num_rows, np.int64))


def machine_step(machine: Machine) -> Callable[[NDArray[np.int64]], float | None]:
    """Returns a function that sends events (N,) to all rows, takes the screens and returns the mean damage."""
    rows = np.ones(machine.num_rows, np.bool_)
    damage = getattr(machine, "damage", None)  # only neural machines denoise tiles

    def step(events: NDArray[np.int64]) -> float | None:
        machine.step(events, rows)
        machine.screens()
        return None if damage is None else float(damage().mean())

    return step


def measure_machine(machine: Machine, seconds: float) -> Speed:
    """Boots a machine and measures its steps."""
    boot(machine)
    return measure(machine_step(machine), machine.num_rows, seconds)


def measure_calls(call: Callable[[], object], repeats: int = 7) -> float:
    """Returns the median milliseconds of a call, after one unmeasured one."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times[1:]))


_start: Barrier | None = None  # of a worker process: all begin to measure together


def _share_barrier(barrier: Barrier) -> None:
    global _start
    _start = barrier


def _real_process(seconds: float) -> float:
    assert _start is not None
    try:
        with BashTerminal(1) as machine:
            boot(machine)
            _start.wait()
            return measure(machine_step(machine), 1, seconds).steps_per_second
    except BaseException:
        _start.abort()  # or the others would wait for ever
        raise


def measure_real_processes(processes: int, seconds: float) -> float:
    """Returns the keys per second of ``processes`` real terminals together, each driven by a process of its own."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes)
    with context.Pool(processes, _share_barrier, (barrier,)) as pool:
        return float(sum(pool.map(_real_process, [seconds] * processes, chunksize=1)))
