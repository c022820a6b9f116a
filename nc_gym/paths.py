"""Where the data lies: environment cards, trained agents and weights."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def data_root() -> Path:
    """Returns the folder that holds ``envs/``, ``agents/`` and ``weights/``.

    In a checkout that is its root (it has a ``pyproject.toml`` beside ``nc_gym/``), in a wheel ``nc_gym/_data``.
    """
    checkout = _PACKAGE.parent
    return checkout if (checkout / "pyproject.toml").is_file() else _PACKAGE / "_data"
