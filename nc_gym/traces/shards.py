"""Writes training shards in parallel, each in one piece: the loop that the shards of both computers share.

In: recordings, and what turns some of them into one shard. Out: ``shard-00000.npz``, ...
"""

from __future__ import annotations

import errno
import io
import os
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from nc_gym.traces import parallel

Job = tuple[Path, list[Path]]
"""A shard to be written, and its recordings."""


class ShardError(RuntimeError):
    """Shards that could not all be written; the recordings and the shards written before are kept."""


def find_recordings(folder: str | Path, suffix: str) -> list[Path]:
    """Returns all recordings below a folder, sorted; folders that are symbolic links count like any other."""
    found = (Path(at) / name for at, _, names in os.walk(folder, followlinks=True) for name in names)
    return sorted(path for path in found if path.suffix == suffix)


def write_shards(
    recordings: list[Path], out: Path, build: Callable[[Job], tuple[Path, list[str]]], per_shard: int, workers: int,
    progress: bool,
) -> list[Path]:  # fmt: skip
    """Writes all shards and warns of every damaged recording.

    Args:
        recordings: what goes into the shards, in order.
        out: where the shards go.
        build: writes one shard; returns its path and what is wrong with the recordings that were left out. No file
            means that none was sound.
        per_shard: recordings per shard.
        workers: parallel processes.
        progress: show a progress bar.

    Returns:
        The shards written, in order.

    Raises:
        ShardError: the disk is full or a worker was killed.
    """
    out.mkdir(parents=True, exist_ok=True)
    starts = range(0, len(recordings), per_shard)
    jobs = [(out / f"shard-{i:05d}.npz", recordings[k : k + per_shard]) for i, k in enumerate(starts)]
    written = []
    results = parallel.run(build, jobs, workers)
    try:
        for path, damaged in track(results, "building shards", len(jobs), disable=not progress):
            for message in damaged:
                warnings.warn(f"left out of {path.name}: {message}", stacklevel=3)
            if path.exists():
                written.append(path)
    except (OSError, BrokenProcessPool) as error:
        raise _stopped(error, out) from error
    return sorted(written)


def _stopped(error: OSError | BrokenProcessPool, out: Path) -> Exception:
    """Returns the error to raise when the shards could not all be built."""
    if isinstance(error, BrokenProcessPool):
        reason, remedy = "a worker process was killed, perhaps for lack of memory,", "use fewer workers"
    elif error.errno in (errno.ENOSPC, errno.EDQUOT):
        reason, remedy = "no space left on the disk", "free some space"
    else:
        return error
    return ShardError(
        f"{reason} while writing shards to {out}; the recordings and all finished shards are kept: "
        f"{remedy} and build the shards again"
    )


def write_arrays(path: Path, arrays: Mapping[str, NDArray]) -> None:
    """Writes one shard in one piece."""
    part, archive = path.with_name(path.name + ".part"), io.BytesIO()
    np.savez_compressed(archive, **arrays)  # type: ignore[arg-type]  # numpy types its own option as bool
    try:
        part.write_bytes(archive.getbuffer())
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
