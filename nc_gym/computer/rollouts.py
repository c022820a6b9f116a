"""Sessions that a desktop computer played by itself, to learn from its own mistakes (DAgger, Ross et al. 2011).

A network that sees only true screens in training does not know what to do with a screen that it got wrong. Here it
plays recorded events on its own screens; a rolled file holds what it drew as history and what the real computer drew
as the goal. In: a ``PatchFile``. Out: another, whose sessions end where the screen is too far from the truth to go on.
A training run also draws from the files called rolled-*.npz beside its shards.

    cd runs/desktop/shards
    python -m nc_gym.computer.rollouts patches-00000-*.npz ../../../weights/desktop rolled-00000.npz
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from nc_gym.computer.backing_store import with_backing
from nc_gym.computer.batches import save_whole
from nc_gym.computer.computer import NeuralComputer
from nc_gym.computer.patch_geometry import cut, grid
from nc_gym.computer.patches import PatchFile, same_before

MOST_LOST = 0.2  # of the patches may be wrong before an event; from then on a session teaches nothing
_ROWS = 32  # sessions played at once


def roll_out(computer: NeuralComputer, file: PatchFile, sessions: list[int]) -> dict[str, NDArray]:
    """Plays sessions of ``file`` on the computer's own screens; returns the arrays of a rolled ``PatchFile``."""
    played = [_play(computer, file, sessions[i : i + _ROWS]) for i in track(range(0, len(sessions), _ROWS), "rolling")]
    drawn = np.concatenate([part["drawn"] for part in played])
    codes, number = np.unique(np.concatenate([file.codes, drawn]), axis=0, return_inverse=True)
    known, own = np.split(number.reshape(-1), [len(file.codes)])
    columns: dict[str, list[NDArray]] = {}
    length = goals = done = 0
    for part in played:
        for row, s in enumerate(part["sessions"]):
            mine = _session(file, int(s), part, row, own[done : done + len(part["drawn"])], known)
            events = len(mine["events"])
            mine |= {"boot": np.array([length]), "lo": mine["lo"] + length, "hi": mine["hi"] + length}
            mine |= {"earlier": mine["earlier"] + length}
            mine |= {"goal_lo": mine["goal_lo"] + goals, "goal_hi": mine["goal_hi"] + goals}
            length, goals = length + len(mine["state"]), goals + len(mine["goal_state"])
            columns.setdefault("count", []).append(np.array([events]))
            for name, values in mine.items():
                columns.setdefault(name, []).append(values)
        done += len(part["drawn"])
    arrays = {name: np.concatenate(values) for name, values in columns.items()}
    starts = np.cumsum([0, *arrays.pop("count")])
    arrays |= {"codes": codes.astype(np.int16), "starts": starts, "families": file.families}
    return with_backing(arrays, computer.config)


@torch.inference_mode()
def _play(computer: NeuralComputer, file: PatchFile, sessions: list[int]) -> dict[str, NDArray]:
    """Plays some sessions side by side: what each event drew where on which row, and how long each row was sound."""
    c, n = computer.config, len(sessions)
    counts = np.diff(file.starts)[sessions]
    state = computer.boot(torch.arange(n), torch.zeros(n, dtype=torch.int64))
    first = np.stack([file.codes[file.state[file.boot[s] : file.boot[s] + c.num_patches]] for s in sessions])
    state.codes[:] = torch.from_numpy(grid(first, c).reshape(n, -1).astype(np.int64))
    state.pixels[:] = computer.network.codec.screens(state.codes)
    state.pointer[:] = torch.from_numpy(file.pointer0[sessions].astype(np.int64))  # type: ignore[attr-defined]
    goals = [file.goal_shown(s, c.num_patches) for s in sessions]
    before, drawn, where, said, lost = first, [], [], [], []
    for t in range(int(counts.min())):
        truth = np.stack([file.codes[states[t]] for states in goals])
        lost.append((before != truth).any(2).sum(1))
        events = np.stack([file.events[file.starts[s] + t] for s in sessions])
        computer.step(state, torch.from_numpy(events.astype(np.int64)))
        said.append(state.windows.numpy().astype(np.uint8))  # type: ignore[attr-defined]  # a PatchState
        after = cut(c, state.codes).numpy().astype(np.int16)
        row, place = np.nonzero((before != after).any(2))
        drawn.append(after[row, place])
        where.append(np.stack([np.full(len(row), t), row, place], 1))
        before = after
    too_far = np.stack(lost) > MOST_LOST * c.num_patches
    length = np.where(too_far.any(0), too_far.argmax(0), len(too_far)).clip(min=1)
    return {"sessions": np.array(sessions), "drawn": np.concatenate(drawn), "where": np.concatenate(where),
            "said": np.stack(said, 1), "length": length}  # fmt: skip


def _session(
    file: PatchFile, s: int, part: dict[str, NDArray], row: int, states: NDArray[np.int64], known: NDArray[np.int64]
) -> dict[str, NDArray]:
    """Returns the arrays of one session, its entries and goals numbered from 0.

    Args:
        file: the true recording.
        s: which of its sessions.
        part: what ``_play`` found.
        row: the session's row there.
        states: numbers of the states in ``part["drawn"]``.
        known: numbers of the true file's states.
    """
    T, P = int(part["length"][row]), int(file.lo[file.starts[s]] - file.boot[s])
    events = slice(int(file.starts[s]), int(file.starts[s]) + T)
    when, of_row, place = part["where"].T
    mine = (of_row == row) & (when < T)
    counts = np.bincount(when[mine], minlength=T)[:T]
    hi = P + np.cumsum(counts)
    places = np.concatenate([np.arange(P), place[mine]])
    goals = slice(int(file.goal_lo[events.start]), int(file.goal_hi[events.stop - 1]))
    boot = known[file.state[file.boot[s] : file.boot[s] + P]]
    return {
        "events": file.events[events], "sprite": file.sprite[events], "motion": file.motion[events],
        "windows": file.windows[events], "said": part["said"][row, :T],
        "pointer0": file.pointer0[s : s + 1], "family": file.family[s : s + 1],
        "state": np.concatenate([boot, states[mine]]).astype(np.int32), "place": places.astype(np.int16),
        "when": np.concatenate([np.full(P, -1), when[mine]]).astype(np.int16),
        "earlier": same_before(places).astype(np.int32), "lo": hi - counts, "hi": hi,
        "goal_state": known[file.goal_state[goals]].astype(np.int32), "goal_place": file.goal_place[goals],
        "goal_lo": file.goal_lo[events] - goals.start, "goal_hi": file.goal_hi[events] - goals.start,
    }  # fmt: skip


def main() -> None:
    """Writes one rolled file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patches", type=Path, help="linked shard, patches-*.npz")
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sessions", type=int, default=10**6, help="how many, from the first on")
    args = parser.parse_args()
    file = PatchFile.load(args.patches)
    count = min(args.sessions, len(file.family))
    save_whole(args.out, roll_out(NeuralComputer.from_pretrained(args.weights), file, list(range(count))))
    print(f"rolled sessions written to {args.out}")


if __name__ == "__main__":
    main()
