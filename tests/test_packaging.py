"""The wheel holds everything that an installed package needs, and the repository's commands are whole."""

import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import version
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(folder),
        str(ROOT),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return next(folder.glob("*.whl"))


def test_wheel_holds_code_cards_weights_agents_and_licences(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    code = {path.relative_to(ROOT).as_posix() for path in (ROOT / "nc_gym").rglob("*.py")}
    data = {
        f"nc_gym/_data/{path.relative_to(ROOT).as_posix()}"
        for folder in ("envs", "weights", "agents")
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
    }
    licences = {f"nc_gym-0.1.0.dist-info/licenses/{name}" for name in ("LICENSE", "THIRD_PARTY_NOTICES.md")}
    files = {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "nc_gym").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }  # fmt: skip
    assert {"nc_gym/py.typed", "nc_gym/machines/spleen_8x16.hex", "nc_gym/machines/desktop_config/jwmrc"} <= files
    expected = code | data | licences | files
    assert expected <= names
    assert not [name for name in names if name.startswith(("tests", "runs", "traces"))]
    assert wheel.stat().st_size < 100e6


def test_an_installed_wheel_works_outside_the_checkout(wheel, tmp_path):
    site = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site), str(wheel)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    code = """
from pathlib import Path
import gymnasium as gym, nc_gym
from nc_gym.agent_file import load_agent
from nc_gym.paths import data_root
print(nc_gym.__file__, data_root())
for machine in ("real", "neural"):
    env = gym.make("nc_gym:nc_gym/TerminalEcho-v0", machine=machine)
    env.reset(seed=0)
    print(machine, env.step(env.unwrapped.encode("e")[0])[0].shape)
    env.close()
print(load_agent(Path("agents/terminal_echo_ppo")).path)
"""
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    first, *machines, agent = done.stdout.splitlines()
    assert first == f"{site / 'nc_gym/__init__.py'} {site / 'nc_gym/_data'}"
    assert machines == ["real (208, 320, 3)", "neural (208, 320, 3)"]
    assert agent == str(site / "nc_gym/_data/agents/terminal_echo_ppo/policy.zip")


def test_constraints_pin_every_requirement_to_a_version_it_accepts():
    pins = dict(re.findall(r"^([\w.-]+)==([\w.+-]+)", (ROOT / "constraints.txt").read_text(), re.M))
    pins = {re.sub(r"[-_.]+", "-", name).lower(): pin for name, pin in pins.items()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for text in chain(project["dependencies"], *project["optional-dependencies"].values()):
        requirement = Requirement(text)
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if name not in ("nc-gym", "tomli"):
            assert requirement.specifier.contains(pins[name]), text


def test_installed_version_is_the_module_s():
    import nc_gym

    assert version("nc-gym") == nc_gym.__version__


def test_make_help_lists_every_target():
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    for target in ("demo", "test", "lint", "train", "evaluate", "collect", "clean", "docs"):
        assert re.search(rf"^  make {target} +\w", done.stdout, re.M)


def test_ci_runs_make_test():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert re.search(r"^exec make test", script.read_text(), re.M)
    planned = subprocess.run(["make", "-n", "test"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for step in ("ruff check", "ruff format --check", "mypy", "pytest"):
        assert step in planned


def test_missing_system_packages_are_named_when_they_cannot_be_installed(tmp_path):
    (tmp_path / "bash").symlink_to("/bin/bash")
    (tmp_path / "id").symlink_to("/usr/bin/id")
    done = subprocess.run(
        ["/bin/bash", ROOT / ".ci" / "system-packages", "id:coreutils", "no-such-command:bubblewrap"],
        env={"PATH": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert (
        done.stderr.strip() == "Missing system packages: bubblewrap. Install them with: sudo apt-get install bubblewrap"
    )


@pytest.mark.parametrize("folder", sorted((ROOT / "weights").iterdir()), ids=lambda folder: folder.name)
def test_a_weights_folder_stays_below_25_megabytes(folder):
    assert 1e6 < sum(path.stat().st_size for path in folder.rglob("*")) < 25e6
