"""The arithmetic of fidelity: shares, bootstrap intervals over sessions, and the Neural Computers paper's text metrics.

Pure functions of arrays. N sessions are the units that are resampled: the screens of one session are not independent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
BLANK = ord(" ")

Number = dict[str, float]


def character_accuracy(neural: NDArray[np.uint8], real: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Returns the share of equal characters among cells that are non-blank in either grid.

    Args:
        neural: character codes, uint8 (..., rows, columns).
        real: the same shape.

    Returns:
        float64 (...); 1 where both grids are blank.
    """
    shown = (neural != BLANK) | (real != BLANK)
    right, cells = ((neural == real) & shown).sum((-2, -1)), shown.sum((-2, -1))
    return np.where(cells > 0, right / np.maximum(cells, 1), 1.0)


def bootstrap(
    numerators: NDArray[np.float64], denominators: NDArray[np.float64], least: float = 0.0
) -> NDArray[np.float64]:
    """Returns the 95 % percentile interval of a ratio of sums over sessions.

    Args:
        numerators: float64 (N, ...), each session's part of the numerator.
        denominators: float64, the same shape.
        least: mean denominator that a resample must have.

    Returns:
        Low and high end, float64 (2, ...). Resamples with less, or without any denominator, are left out.
    """
    count = len(numerators)
    chosen = np.random.default_rng(0).integers(0, count, (RESAMPLES, count))
    weights = np.stack([np.bincount(rows, minlength=count) for rows in chosen]).astype(np.float64)  # (B, N)
    top, bottom = (weights @ part.reshape(count, -1) for part in (numerators, denominators))
    ratios = np.divide(top, bottom, out=np.full_like(top, np.nan), where=(bottom > 0) & (bottom >= least * count))
    return np.nanpercentile(ratios, (2.5, 97.5), axis=0).reshape(2, *numerators.shape[1:])


def mean_number(values: NDArray[np.float64]) -> Number:
    """Returns mean and 95 % interval of one value per session, float64 (N,)."""
    low, high = bootstrap(values, np.ones_like(values))
    return {"mean": float(values.mean()), "low": float(low), "high": float(high)}


def curve(values: NDArray[np.float64]) -> dict[str, list[float]]:
    """Returns mean and 95 % interval at every step of float64 (N, T)."""
    low, high = bootstrap(values, np.ones_like(values))
    return {"mean": values.mean(0).tolist(), "low": low.tolist(), "high": high.tolist()}


def share_number(right: NDArray[np.bool_] | NDArray[np.float64], counted: NDArray[np.bool_]) -> Number:
    """Returns the mean of ``right`` over the ``counted`` events, both (N, T), its 95 % interval, and their number.

    ``right`` tells which events are, or gives a value of each, such as a share.
    """
    return ratio_number(np.where(counted, right, 0).sum(1), counted.sum(1))


def ratio_number(right: NDArray[Any], counted: NDArray[Any]) -> Number:
    """Returns the sum of ``right`` over that of ``counted``, both (N,), its 95 % interval, and the latter sum."""
    good, all_ = right.astype(np.float64), counted.astype(np.float64)
    low, high = bootstrap(good, all_)
    return {"share": float(good.sum() / all_.sum()), "low": float(low), "high": float(high), "events": int(all_.sum())}


def share_numbers(
    right: NDArray[np.bool_] | NDArray[np.float64], counted: NDArray[np.bool_], groups: Mapping[str, NDArray[np.bool_]]
) -> dict[str, Number]:
    """Returns ``share_number`` of each group of events, bool (N, T); groups without a counted event are left out."""
    return {name: share_number(right, counted & group) for name, group in groups.items() if (counted & group).any()}


def text_lines(chars: NDArray[np.uint8]) -> list[str]:
    """Returns the text of a screen (rows, columns) as the paper compares it.

    Lines are stripped, runs of spaces collapsed, empty lines dropped.
    """
    lines = [" ".join(row.tobytes().decode("latin-1").split()) for row in chars]
    return [line for line in lines if line]


def edit_distance(left: str, right: str) -> int:
    """Returns the Levenshtein distance."""
    codes = np.array([ord(char) for char in right], np.int64)
    offsets = np.arange(len(right) + 1)
    row = offsets.copy()
    for i, char in enumerate(left, 1):
        best = np.minimum(row[:-1] + (codes != ord(char)), row[1:] + 1)  # replace or keep, delete
        row = np.minimum.accumulate(np.concatenate([[i], best]) - offsets) + offsets  # insert
    return int(row[-1])


def paper_characters(neural: list[str], real: list[str]) -> float:
    """Returns the paper's character accuracy, max(0, 1 - edit distance / length of the true text), of two texts."""
    left, right = "\n".join(neural), "\n".join(real)
    if left == right:
        return 1.0
    return max(0.0, 1 - edit_distance(left, right) / max(len(right), 1))


def paper_lines(neural: list[str], real: list[str]) -> float:
    """Returns the paper's exact-line accuracy: the share of true lines that equal the line at the same place."""
    if not real:
        return float(not neural)
    return sum(a == b for a, b in zip(neural, real, strict=False)) / len(real)
