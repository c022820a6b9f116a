"""Record your own traces of the real terminal and go on training the neural one with them.

    python examples/own_traces.py                          # a token amount: under two minutes
    python examples/own_traces.py --sessions 4000 --minutes 60 --out runs/mine

What types is one of the package's synthetic users (`nc_gym/traces/users.py`; write your own there): a network learns
keys and the screen after each of them, which a cast that asciinema made of your own shell does not hold. Both steps are
commands of their own; this runs them one after the other. Expect a folder of asciinema casts (any asciinema player
plays them) and a weights folder that `gym.make(..., weights=...)` takes. Half a minute of training changes next to
nothing; an hour on your own kind of sessions does.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import gymnasium as gym

import nc_gym
from nc_gym.paths import data_root
from nc_gym.traces.recorder import collect_terminal
from nc_gym.traces.users import DEFAULT_MIX
from nc_gym.train import train

gym.register_envs(nc_gym)

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--sessions", type=int, default=64)
parser.add_argument("--steps", type=int, default=64, help="keys per session")
parser.add_argument("--minutes", type=float, default=0.5, help="training time")
parser.add_argument("--start", type=Path, default=data_root() / "weights" / "terminal", help="weights to begin from")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", type=Path, default=Path("runs/own_traces"))


def main() -> None:
    args = parser.parse_args()
    print(
        "Expect a folder of casts and one of weights in under two minutes; so little training changes next to nothing."
    )
    traces = args.out / "traces"
    recorded = collect_terminal(args.sessions, args.steps, args.seed, traces, "train", 2, DEFAULT_MIX)
    print(f"recorded {recorded} sessions of real bash: {traces}")
    weights = train(traces, args.minutes, args.out / "run", args.seed, None, "cpu", start=args.start)
    env = gym.make("nc_gym/Terminal-v0", weights=str(weights), render_mode="ansi")
    env.reset(seed=0)
    for key in env.unwrapped.encode("echo hello\n"):  # type: ignore[attr-defined]
        env.step(key)
    print(f"the terminal that was trained, {weights}:\n{env.render()}")
    env.close()


if __name__ == "__main__":  # recording starts processes, which import this file again
    main()
