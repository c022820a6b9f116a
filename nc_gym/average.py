"""Averages weights of one network, trained in turns, into a weights folder that is often better than each.

    python -m nc_gym.average runs/terminal/weights=0.65 weights/terminal=0.35 --out runs/mean

In: weights folders that went on from one another (same configuration, same codec), with shares. Out: a weights folder
whose config.json has the first one's training facts and says what was averaged (model soups, Wortsman et al. 2022).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import torch
import typer

from nc_gym.computer import weights


def average(shares: Mapping[Path, float], out: Path) -> None:
    """Writes the average of several weights folders.

    Args:
        shares: weights folder -> its share; they add up to 1.
        out: the folder to write.

    Raises:
        ValueError: the shares do not add up to 1.
        WeightsError: a folder cannot be read, or two hold different networks.
    """
    if abs(sum(shares.values()) - 1) > 1e-6:
        raise ValueError(f"the shares {', '.join(map(str, shares.values()))} do not add up to 1; change one of them")
    networks = [weights.load(folder) for folder in shares]
    first, bank = networks[0]
    for folder, (network, _) in zip(shares, networks, strict=True):
        if dataclasses.replace(network.config, training={}) != dataclasses.replace(first.config, training={}):
            raise weights.WeightsError(f"{folder} and {next(iter(shares))} have different configurations; take others")
        if not all(torch.equal(a, b) for a, b in zip(network.buffers(), first.buffers(), strict=True)):
            raise weights.WeightsError(f"{folder} and {next(iter(shares))} have different codecs; take others")
    with torch.no_grad():
        for same in zip(*(network.parameters() for network, _ in networks), strict=True):
            same[0].copy_(sum(share * p for share, p in zip(shares.values(), same, strict=True)))
    facts = [
        {"folder": str(folder), "share": share, "sha256": weights.sha256(folder / weights.MODEL)}
        for folder, share in shares.items()
    ]
    first.config = dataclasses.replace(first.config, training=first.config.training | {"averaged": facts})
    weights.save(out, first, bank)


def main(
    folders: Annotated[list[str], typer.Argument(help="Weights folders with shares, such as runs/a/weights=0.65.")],
    out: Annotated[Path, typer.Option(help="Weights folder to write.")],
) -> None:
    """Average weights of one network that was trained in turns."""
    pairs = [folder.rpartition("=") for folder in folders]
    try:
        shares = {Path(name): float(share) for name, _, share in pairs}
    except ValueError:
        raise typer.BadParameter(f"{' '.join(folders)}; give each folder with its share, as in weights=0.5") from None
    average(shares, out)
    typer.echo(f"wrote {out}")


if __name__ == "__main__":
    typer.run(main)
