"""What ``nc-gym evaluate desktop`` leaves behind: a JSON file, curves against step, pictures of the worst mistakes."""

from __future__ import annotations

from math import nan
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from nc_gym import desktop_fidelity_scores as pixels
from nc_gym import fidelity_report
from nc_gym.comparison import GAP, TITLE_COLORS, differing_cells, mark, text_line
from nc_gym.desktop_fidelity_measures import CURVES
from nc_gym.desktop_fidelity_run import DesktopSessions, Film
from nc_gym.desktop_fidelity_transitions import event_name
from nc_gym.fidelity_report import Aim, idle_aim

JSON, PLOT, GALLERY = "fidelity_desktop.json", "fidelity_desktop.png", "failures_desktop.png"
GALLERY_SIZE = 12
_COLUMNS = 2
TARGETS: dict[str, tuple[str, float]] = {
    "pointer within 2 px": ("pointer", 0.995),
    "transition accuracy": ("transitions", 0.90),
    "SSIM over the 15 screens after each action": ("similarity", 0.95),
    "changed pixels right at event 20": ("20", 0.97),
    "changed pixels right at event 100": ("100", 0.90),
    "characters typed into xterm": ("text", 0.97),
}
"""Shares aimed at: name -> (where it stands in the JSON file, see ``target_numbers``; at least how much)."""


def write(result: dict[str, Any], real: DesktopSessions, film: Film, out: Path) -> None:
    """Writes all three files into the folder ``out``."""
    (out / JSON).write_text(fidelity_report.dumps(result), encoding="utf-8")
    fidelity_report.plot(result, CURVES, "Neural desktop against the real one", out / PLOT)
    imageio.imwrite(out / GALLERY, gallery(real, film))


def target_numbers(result: dict[str, Any]) -> dict[str, tuple[dict[str, float] | None, float]]:
    """Returns for each of ``TARGETS`` what was measured ("mean", "low", "high"), None if it was not, and the aim."""
    found = {
        "pointer": result["pointer"]["within"],
        "transitions": result["transitions"].get("accuracy"),
        "similarity": (result["similarity"] or {}).get("ssim"),
        "text": result["text"]["typed"],
        **{step: numbers["changed_pixels"] for step, numbers in result["at_steps"].items()},
    }
    numbers: dict[str, tuple[dict[str, float] | None, float]] = {}
    for name, (key, aim) in TARGETS.items():
        numbers[name] = (fidelity_report.share(found.get(key)), aim)
    return numbers


def aims(result: dict[str, Any]) -> list[Aim]:
    """Returns each of ``TARGETS``, and that no-ops change no pixel, beside what was measured."""
    numbers = target_numbers(result)
    return [*(Aim(name, *each) for name, each in numbers.items()), idle_aim(result["idle"], "pixels")]


def worst(real: DesktopSessions, film: Film) -> list[tuple[int, int, int]]:
    """Returns session, event (from 1) and number of newly wrong pixels of each session's worst event, worst first."""
    count, steps, _ = real.events.shape
    wrong = np.stack(
        [(~pixels.right_pixels(film.at(t), real.film.at(t))).sum((1, 2)) for t in range(steps + 1)], axis=1
    )
    newly = np.diff(wrong, axis=1)
    cases = [(n, int(newly[n].argmax()) + 1, int(newly[n].max())) for n in range(count)]
    return sorted((case for case in cases if case[2] > 0), key=lambda case: -case[2])


def gallery(real: DesktopSessions, film: Film) -> NDArray[np.uint8]:
    """Returns a picture of the sessions' worst events, neural beside real, uint8 (H, W, 3)."""
    cases = worst(real, film)[:GALLERY_SIZE]
    if not cases:
        count, steps, _ = real.events.shape
        return text_line(f"All {count} sessions agree after each of {steps} events.", width=656, scale=1)
    frames = [_frame(real, film, *case) for case in cases]
    frames += [np.zeros_like(frames[0])] * (-len(frames) % _COLUMNS)
    gap = np.zeros((len(frames[0]), GAP, 3), np.uint8)
    rows = [frames[i : i + _COLUMNS] for i in range(0, len(frames), _COLUMNS)]
    return fidelity_report.stack(
        [np.concatenate([part for frame in row for part in (frame, gap)][:-1], axis=1) for row in rows]
    )


def _frame(real: DesktopSessions, film: Film, n: int, t: int, wrong: int) -> NDArray[np.uint8]:
    """Returns one case: what happened, then the neural screen and the real one, differing cells boxed in red."""
    shown, true = film.screen(n, t), real.film.screen(n, t)
    cells = differing_cells(shown, true)
    gap = np.full((len(shown), GAP, 3), TITLE_COLORS[0], np.uint8)
    screens = np.concatenate([mark(shown, cells, 1), gap, mark(true, cells, 1)], axis=1)
    done = f"{real.purposes[n][t - 1]} ({event_name(real.events[n, t - 1])})"
    title = f"neural | real: session {n}, event {t}, {wrong:,} more pixels wrong after {done}"
    return np.concatenate([text_line(title, screens.shape[1], 1), screens])


def table(result: dict[str, Any]) -> Table:
    """Returns the main numbers for the console."""
    made = Table(
        title=f"{result['sessions']} held-out sessions of {result['steps']} events, {result['minutes']:.1f} minutes"
    )
    for column in ("closed loop", "measured", "95 % interval", "aim", ""):
        made.add_column(column)
    for aim in aims(result):
        value, interval = "not measured", ""
        if isinstance(aim.measured, int):
            value = f"{aim.measured:,}"
        elif aim.measured is not None:
            value, interval = "{mean:.4f}".format(**aim.measured), "{low:.4f}–{high:.4f}".format(**aim.measured)
        made.add_row(aim.name, value, interval, f"{aim.wanted}", aim.verdict)
    made.caption = f"{result['transitions']['classes']} classes of transitions. {_similar(result['similarity'])}"
    return made


def _similar(similarity: dict[str, Any] | None) -> str:
    if similarity is None:
        return "No action, so neither SSIM nor PSNR."
    decibels = similarity["psnr"]["mean"]
    return f"PSNR {'infinite' if decibels is None else f'{decibels:.2f} dB'}. {lpips_sentence(similarity)}"


def class_mean(table: dict[str, dict[str, float]]) -> float:
    """Returns the mean accuracy over classes of transitions, each counted once however few its events; nan of none."""
    return sum(each["share"] for each in table.values()) / len(table) if table else nan


def lpips_sentence(similarity: dict[str, Any] | None) -> str:
    """Returns what was found of LPIPS."""
    if similarity is None or similarity["lpips"] is None:
        return "LPIPS is not measured: it needs another network's weights, see `nc-gym evaluate --help`."
    number = similarity["lpips"]
    return f"LPIPS over the same screens as SSIM: {number['share']:.3f} ({number['low']:.3f}–{number['high']:.3f})."
