"""Goal-directed against random traces: several neural desktops, the same held-out sessions, one small table.

    python -m nc_gym.desktop_fidelity_study goal-directed=runs/goal/weights random=runs/random/weights

In: weights folders with labels. Out: ``goal_vs_random.json``. What the networks were trained on, and for how long, is
in their configurations and is copied from there; that it is equal is for whoever trains them to see to.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from nc_gym import desktop_fidelity_report as report
from nc_gym.computer.machine import NeuralMachine
from nc_gym.computer.weights import MODEL, sha256
from nc_gym.desktop_fidelity import judge, load_computer
from nc_gym.desktop_fidelity_run import held_out_sessions
from nc_gym.fidelity_report import dumps

JSON = "goal_vs_random.json"


def compare(
    folders: Mapping[str, str | Path],
    out: str | Path = "docs",
    sessions: int = 60,
    steps: int = 100,
    seed: int = 70001,
    device: str = "auto",
    progress: bool = True,
) -> dict[str, Any]:
    """Evaluates several neural desktops on the same held-out sessions; writes goal_vs_random.json.

    Args:
        folders: label -> weights folder.
        out: folder of the JSON file.
        sessions: how many held-out sessions.
        steps: events of each.
        seed: of the held-out users.
        device: "auto", "cpu" or "cuda".
        progress: show progress bars.

    Returns:
        The content of the JSON file.

    Raises:
        WeightsError: a folder holds no desktop's weights.
    """
    computers = {label: load_computer(Path(folder), device, None) for label, folder in folders.items()}
    real = held_out_sessions(sessions, steps, seed, progress)
    rows = {}
    for label, computer in computers.items():

        def open_machine(count: int, computer: Any = computer) -> NeuralMachine:
            return NeuralMachine(computer, count)

        _, measured = judge(open_machine, real, progress=progress)
        rows[label] = {
            "sha256": sha256(Path(folders[label]) / MODEL),
            "training": computer.config.training,
            **{name: number for name, (number, _) in report.target_numbers(measured).items()},
            "changed pixels right, all events": measured["over_all_steps"]["changed_pixels"],
            "pixels that each event changed, by user": measured["events"]["users"]["pixels"],
            "pixels changed when idle": measured["idle"]["pixels_changed"],
        }
    result = {"seed": seed, "sessions": len(real.users), "steps": steps, "desktops": rows}
    Path(out).mkdir(parents=True, exist_ok=True)
    (Path(out) / JSON).write_text(dumps(result), encoding="utf-8")
    return result


def main(
    folders: Annotated[list[str], typer.Argument(help="LABEL=WEIGHTS of each neural desktop.")],
    out: Annotated[Path, typer.Option(help="Folder of the JSON file.")] = Path("docs"),
    sessions: Annotated[int, typer.Option(min=1, help="Held-out sessions.")] = 60,
    seed: Annotated[int, typer.Option(help="Seed of the held-out users.")] = 70001,
) -> None:
    """Compare neural desktops on the same held-out sessions."""
    pairs = [folder.partition("=")[::2] for folder in folders]
    if not all(label and weights for label, weights in pairs):
        given = " ".join(folders)
        raise typer.BadParameter(f"{given!r}; expected LABEL=WEIGHTS of each, e.g. random=runs/random/weights")
    compare(dict(pairs), out, sessions, seed=seed)
    typer.echo(f"Wrote {out / JSON}.")


if __name__ == "__main__":
    typer.run(main)
