"""The commands ``nc-gym agent``: train, evaluate, enjoy, transfer.

Heavy modules are imported inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nc_gym.cli_help import examples
from nc_gym.cli_options import (
    AgentPath,
    Algorithm,
    Device,
    Drawn,
    Episodes,
    Learner,
    Machine,
    Machines,
    NumEnvs,
    Obs,
    Recipe,
    Seen,
    Steps,
    TestSeed,
    Trust,
    Typed,
    Weights,
)

app = typer.Typer(
    name="agent",
    help="Train policies inside the neural computer, judge them on the real one.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.command(
    epilog=examples(
        "nc-gym agent train nc_gym/TerminalEcho-v0 --out runs/agents/echo",
        "nc-gym agent train nc_gym/TerminalEcho-v0 --algo maskable_ppo --steps 100000 --out runs/agents/masked",
        "nc-gym agent train nc_gym/TerminalEcho-v0 --obs latent --out runs/agents/latent",
        "nc-gym agent train nc_gym/TerminalEcho-v0 --machine real --out runs/agents/real",
        "tensorboard --logdir runs/agents",
    )
)
def train(
    env: Annotated[str, typer.Argument(help="Environment id, e.g. nc_gym/TerminalEcho-v0.")],
    out: Annotated[Path, typer.Option(help="Run folder; an interrupted run goes on from its last checkpoint.")],
    algo: Learner = Algorithm.ppo,
    conf: Recipe = None,
    steps: Steps = None,
    num_envs: NumEnvs = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the training.")] = 0,
    machine: Annotated[Machine, typer.Option(help="Where it learns.")] = Machine.neural,
    obs: Seen = Obs.chars,
    actions: Typed = None,
    weights: Weights = None,
    device: Device = "auto",
    every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = 50_000,
    episodes: Episodes = 100,
    test_seed: TestSeed = 12345,
) -> None:
    """Train a policy, then test it on both machines beside random keys and the oracle.

    Writes checkpoints, TensorBoard logs, policy.zip and results.json into the run folder. A killed run goes on from its
    newest checkpoint: policy, optimizer, step count and curve come back; running episodes and random streams begin new.
    """
    from nc_gym.agent_env import EnvSetting
    from nc_gym.agent_evaluate import show
    from nc_gym.agent_recipe import read_recipe
    from nc_gym.agent_train import Plan, finish
    from nc_gym.agent_train import train as fit
    from nc_gym.paths import data_root

    setting = EnvSetting(
        env,
        machine.value,
        obs.value,
        actions.value if actions else None,
        "train",
        str(weights) if weights else None,
        device,
    )
    recipe = read_recipe(conf or data_root() / "agents" / f"{algo.value}.yml", env)
    rows, length = recipe.pop("n_envs"), recipe.pop("n_timesteps")
    plan = Plan(setting, algo.value, seed, num_envs or rows, recipe)
    points = fit(plan, out, steps or length, every)
    show(finish(plan, out, points, episodes, test_seed))
    typer.echo(
        f"Wrote {out / 'policy.zip'} and {out / 'results.json'} ({points[-1].seconds / 60:.1f} minutes of training)."
    )


@app.command(
    epilog=examples(
        "nc-gym agent evaluate agents/terminal_echo_ppo --machine real --episodes 100 --argmax --json a.json",
        "nc-gym agent evaluate agents/terminal_echo_ppo --machine both --baselines --both-modes --json a.json",
    )
)
def evaluate(
    agent: AgentPath,
    machine: Annotated[Machines, typer.Option(help="Where it is tested.")] = Machines.neural,
    episodes: Episodes = 100,
    seed: TestSeed = 12345,
    argmax: Annotated[
        bool, typer.Option("--argmax", help="Take the likeliest actions, as `enjoy` does. [default: drawn]")
    ] = False,
    both_modes: Annotated[bool, typer.Option("--both-modes", help="Test both: likeliest and drawn actions.")] = False,
    baselines: Annotated[bool, typer.Option("--baselines", help="Also test random keys and the oracle.")] = False,
    json: Annotated[Path | None, typer.Option(help="Write the scores here, in the schema of results.json.")] = None,
    weights: Weights = None,
    device: Device = "auto",
    trust: Trust = False,
) -> None:
    """Test an agent again, on the task's test parameters."""
    from nc_gym.agent_evaluate import evaluate_all, setting_of, show
    from nc_gym.agent_file import load_agent, write_results

    if argmax and both_modes:
        raise ValueError("--argmax and --both-modes are given; choose one: --both-modes tests argmax, too")
    loaded = load_agent(agent, trust)
    machines = ("real", "neural") if machine is Machines.both else (machine.value,)
    settings = [setting_of(loaded, name, str(weights) if weights else None, device) for name in machines]
    modes = (True, False) if both_modes else (argmax,)
    scores = evaluate_all(loaded, settings, modes, baselines, episodes, seed)
    show(scores)
    if json is not None:
        write_results(json, loaded.training, scores)
        typer.echo(f"Wrote {json}.")


@app.command(
    epilog=examples(
        "nc-gym agent enjoy agents/terminal_echo_ppo",
        "nc-gym agent enjoy agents/terminal_removefile_maskable_ppo --drawn",
        "nc-gym agent enjoy agents/terminal_echo_ppo --machine both --video both.mp4 --seed 7",
    )
)
def enjoy(
    agent: AgentPath,
    machine: Annotated[Machines, typer.Option(help="Where it plays; both needs --video.")] = Machines.neural,
    seed: Annotated[int, typer.Option(help="Seed of the first episode.")] = 0,
    episodes: Annotated[int, typer.Option(min=1, help="How many.")] = 1,
    video: Annotated[Path | None, typer.Option(help="Film it. [default: show it as text here]")] = None,
    fps: Annotated[float, typer.Option(min=0.1, help="Steps per second of the text.")] = 8.0,
    weights: Weights = None,
    trust: Trust = False,
    drawn: Drawn = False,
) -> None:
    """Watch an agent, as text in this terminal or as a video."""
    from nc_gym.agent_enjoy import watch
    from nc_gym.agent_evaluate import setting_of
    from nc_gym.agent_file import load_agent
    from nc_gym.recording import record_episodes

    loaded, folder = load_agent(agent, trust), str(weights) if weights else None
    if video is None:
        watch(loaded, machine.value, seed, episodes, fps, folder, not drawn)
    else:
        setting = setting_of(loaded, "neural", folder, "auto")
        record_episodes(
            setting.env, str(agent), machine.value, video, seed, episodes, folder, trust, setting.actions,
            setting.split, not drawn,
        )  # fmt: skip


@app.command(
    epilog=examples(
        "nc-gym agent transfer --tasks nc_gym/TerminalEcho-v0 --seeds 5 --steps 400000 --out runs/transfer",
        "nc-gym agent transfer --tasks nc_gym/TerminalEcho-v0 --arms neural,horizon=20 --out runs/ablations",
        "nc-gym agent transfer --tasks nc_gym/TerminalEcho-v0 --arms neural,obs=latent,obs=screen --out runs/obs",
        "nc-gym agent transfer --tasks nc_gym/TerminalAdd-v0 --algo maskable_ppo --out runs/add --agents runs/agents",
    )
)
def transfer(
    tasks: Annotated[str, typer.Option(help="Environment ids, separated by commas.")],
    out: Annotated[Path, typer.Option(help="Folder of the jobs; an interrupted study goes on.")],
    arms: Annotated[
        str, typer.Option(help="neural, real, denoise_steps=K, horizon=K, obs=NAME, separated by commas.")
    ] = "neural,real",
    seeds: Annotated[int, typer.Option(min=1, help="Training seeds per task and arm.")] = 5,
    steps: Steps = None,
    algo: Learner = Algorithm.ppo,
    conf: Recipe = None,
    num_envs: NumEnvs = None,
    obs: Seen = Obs.chars,
    actions: Typed = None,
    every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints, which are all tested.")] = 50_000,
    episodes: Episodes = 100,
    test_seed: TestSeed = 12345,
    weights: Weights = None,
    device: Device = "auto",
    docs: Annotated[Path, typer.Option(help="Folder of transfer.md, transfer.json and the plots.")] = Path("docs"),
    agents: Annotated[
        Path | None,
        typer.Option(help="Also make an agent's folder here of each task's best policy, by its neural score."),
    ] = None,
    finished: Annotated[
        bool, typer.Option("--finished", help="Run nothing: publish the jobs that are done, and say which are not.")
    ] = False,
) -> None:
    """Train in the neural computer only, judge on the real one, over tasks, seeds and arms.

    Beside it: random keys, the oracle, and the same recipe trained on the real machine with equal steps and equal time.
    """
    import shlex
    import sys

    from nc_gym.agent_env import EnvSetting
    from nc_gym.agent_recipe import read_recipe
    from nc_gym.paths import data_root
    from nc_gym.transfer import Study, common_number, run
    from nc_gym.transfer_agents import export_best
    from nc_gym.transfer_report import headline, publish

    preset, folder = actions.value if actions else None, str(weights) if weights else None
    ids, names = (tuple(name.strip() for name in text.split(",")) for text in (tasks, arms))
    settings = tuple(EnvSetting(env, "neural", obs.value, preset, "train", folder, device) for env in ids)
    recipes = {env: read_recipe(conf or data_root() / "agents" / f"{algo.value}.yml", env) for env in ids}
    rows = common_number(recipes, "n_envs", "--num-envs", num_envs)
    length = common_number(recipes, "n_timesteps", "--steps", steps)
    study = Study(settings, names, seeds, algo.value, rows, recipes, length, every, episodes, test_seed, out)
    if not finished:
        run(study)
    result = publish(study, docs, shlex.join(["nc-gym", *sys.argv[1:]]))
    typer.echo(headline(result))
    typer.echo(f"Wrote {docs / 'transfer.md'}, transfer.json, transfer_curves.png and transfer_scatter.png.")
    if agents is not None:
        for folder_made in export_best(study, agents):
            typer.echo(f"Wrote {folder_made}.")
