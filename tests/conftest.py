"""Fixtures that several test modules share: both machines, and a tiny neural computer with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from hypothesis import HealthCheck, settings

import nc_gym

gym.register_envs(nc_gym)
# an example may take long on a busy host: what is asserted is never the time
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")

DIFFERENT = ("nc_gym/Terminal-v0", "nc_gym/TerminalEcho-v0", "nc_gym/TerminalReadFlag-v0")  # free, plain, with a setup


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights folder of a neural terminal small enough to step in a millisecond or two; its screens are nonsense."""
    from tiny import save_tiny_computer

    # with seed 0 the screen stands still after a long setup
    return save_tiny_computer(tmp_path_factory.mktemp("weights") / "tiny", seed=1)


@pytest.fixture(scope="session")
def tiny_desktop_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights folder of a neural desktop likewise."""
    from tiny_desktop import save_tiny_desktop

    return save_tiny_desktop(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture(params=["real", "neural"])
def machine(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def options(machine: str, request: pytest.FixtureRequest) -> dict[str, Any]:
    """The keyword arguments that make an environment on ``machine``."""
    if machine == "real":
        return {"machine": "real", "actions": "keys"}
    weights = str(request.getfixturevalue("tiny_weights"))
    return {"machine": "neural", "weights": weights, "device": "cpu", "actions": "keys"}


@pytest.fixture
def neural(tiny_weights: Path) -> dict[str, Any]:
    """The keyword arguments that make a neural environment."""
    return {"machine": "neural", "weights": str(tiny_weights), "device": "cpu"}


@pytest.fixture(params=DIFFERENT)  # the other ids run the same code on other tables of the card
def env_id(request: pytest.FixtureRequest) -> str:
    return request.param
