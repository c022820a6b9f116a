"""Options that several commands share: their choices, types and helps."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class Algorithm(str, Enum):
    """What learns."""

    ppo = "ppo"
    maskable_ppo = "maskable_ppo"
    recurrent_ppo = "recurrent_ppo"


class Machine(str, Enum):
    """Which computer."""

    neural = "neural"
    real = "real"


class Machines(str, Enum):
    """Which computers."""

    neural = "neural"
    real = "real"
    both = "both"


class Obs(str, Enum):
    """What a policy sees."""

    screen = "screen"
    chars = "chars"
    latent = "latent"


class Actions(str, Enum):
    """What one action types."""

    keys = "keys"
    pointer = "pointer"
    words = "words"


class ActionFile(str, Enum):
    """In which form the paper's data engine keeps what was done."""

    csv = "csv"
    json = "json"


AgentPath = Annotated[Path, typer.Argument(help="Folder of the agent, or the policy.zip in it.")]
Learner = Annotated[Algorithm, typer.Option(help="What learns.")]
Recipe = Annotated[Path | None, typer.Option(help="Recipe in RL-Zoo's format. [default: agents/ALGO.yml]")]
Steps = Annotated[int | None, typer.Option(min=1, help="Environment steps in all. [default: the recipe's]")]
NumEnvs = Annotated[int | None, typer.Option(min=1, help="Computers in the batch. [default: the recipe's]")]
Seen = Annotated[Obs, typer.Option(help="What the policy sees.")]
Typed = Annotated[Actions | None, typer.Option(help="What an action types. [default: as the id says]")]
Drawn = Annotated[bool, typer.Option("--drawn", help="Draw a policy's actions, by the seed. [default: the likeliest]")]
Weights = Annotated[Path | None, typer.Option(help="Weights folder. [default: the shipped one]")]
Device = Annotated[str, typer.Option(help='"auto", "cpu" or "cuda".')]
Episodes = Annotated[int, typer.Option(min=1, help="Episodes of each test.")]
TestSeed = Annotated[int, typer.Option(help="Seed of the first test episode; the next ones follow.")]
Trust = Annotated[
    bool, typer.Option("--trust", help="Load a policy that no results.json vouches for: it can run any code.")
]
