"""The command line: what it lists, what it accepts, and how it fails."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from nc_gym import cli_agent
from nc_gym.cli import app, raised_on_purpose

ROOT = Path(__file__).parents[1]
NC_GYM = Path(sys.executable).with_name("nc-gym")
COMMANDS = ("demo", "record", "collect", "import", "export", "train", "evaluate", "bench", "tasks")
AGENT_COMMANDS = ("train", "evaluate", "enjoy", "transfer")
EVERY = {command.name or command.callback.__name__: command for command in app.registered_commands} | {
    f"agent {command.callback.__name__}": command for command in cli_agent.app.registered_commands
}


def run(*arguments, path=os.environ["PATH"], cwd=None):
    environment = {**os.environ, "PATH": path, "TERM": "dumb", "COLUMNS": "200"}
    return subprocess.run(
        [str(NC_GYM), *map(str, arguments)], capture_output=True, text=True, env=environment, cwd=cwd, timeout=60
    )


def assert_one_clear_sentence(done, *words):
    assert done.returncode == 1, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("nc-gym: "), done.stderr
    for word in words:
        assert word in lines[0]


def documented_commands():
    """Every ``nc-gym`` line of the helps, the README and the docs."""
    epilogs = [command.epilog or "" for command in EVERY.values()]
    pages = [path.read_text() for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))]
    lines = re.findall(r"`(nc-gym [^`]*)`", "\n".join(epilogs))
    lines += [line for page in pages for line in re.findall(r"^nc-gym \w.*$", page, re.M)]
    return sorted({line.split("#")[0].strip() for line in lines})


def test_help_lists_every_command():
    done = run("--help")
    assert done.returncode == 0
    for name in COMMANDS:
        assert re.search(rf"^\W*{name}\s", done.stdout, re.M), done.stdout
    assert re.search(r"^\W*agent\s", done.stdout, re.M), done.stdout
    assert list(EVERY) == [*COMMANDS, *(f"agent {name}" for name in AGENT_COMMANDS)]


@pytest.mark.parametrize("name", EVERY)
def test_every_command_shows_examples_of_itself(name):
    assert EVERY[name].epilog.startswith("**Examples:**")
    assert f"`nc-gym {name}" in EVERY[name].epilog


@pytest.mark.parametrize("line", documented_commands())
def test_every_documented_command_line_parses(line):
    group = typer.main.get_command(app)
    _, name, *arguments = line.split()
    command = group.commands[name]
    if name == "agent":
        name, *arguments = arguments
        command = command.commands[name]
    command.make_context(name, arguments)  # raises a usage error for a wrong option, value or missing argument


def test_help_loads_no_heavy_module():
    code = (
        "import sys, nc_gym.cli; print([m for m in ('torch', 'matplotlib', 'stable_baselines3') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


@pytest.mark.parametrize("line", ["train nc_gym/TerminalEcho-v0", "transfer --tasks nc_gym/TerminalEcho-v0"])
def test_learning_without_stable_baselines3_says_what_to_install(line, tmp_path):
    code = (
        "import sys; sys.modules |= {'stable_baselines3': None, 'sb3_contrib': None}; "
        f"sys.argv = ['nc-gym', 'agent', *{line.split()}, '--out', {str(tmp_path)!r}]; import nc_gym.cli as c; c.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert_one_clear_sentence(done, "stable-baselines3, which is not installed", "pip install '.[sb3]'")


def test_importing_what_is_no_video_is_one_clear_sentence(tmp_path):
    (tmp_path / "a.mp4").write_text("no video")
    (tmp_path / "a.csv").write_text("")
    done = run("import", tmp_path / "a.mp4", tmp_path / "a.csv", "--out", tmp_path / "out")
    assert_one_clear_sentence(done, "a.mp4 is no video that ffmpeg can read", "expected an mp4")


def test_record_on_real_bash_writes_a_video_and_reports_the_episode(tmp_path):
    done = run(
        "record", "nc_gym/TerminalEcho-v0", "--agent", "oracle", "--machine", "real", "--video", tmp_path / "a.mp4",
        "--episodes", 2,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-episode-0.mp4", "a-episode-1.mp4"]
    assert done.stdout.count("yes") == 2 and done.stdout.count("1.00") == 2


def test_an_unknown_environment_is_one_clear_sentence(tmp_path):
    done = run("record", "nc_gym/Termnal-v0", "--video", tmp_path / "a.mp4")
    assert_one_clear_sentence(done, "'nc_gym/Termnal-v0'", "nc_gym/TerminalEcho-v0")


def test_an_unknown_agent_is_one_clear_sentence(tmp_path):
    done = run("record", "nc_gym/Terminal-v0", "--agent", "nobody.zip", "--video", tmp_path / "a.mp4")
    assert_one_clear_sentence(done, "'nobody.zip'", "oracle", "random")
    assert not (tmp_path / "a.mp4").exists()


def test_free_use_has_no_oracle(tmp_path):
    done = run("record", "nc_gym/Terminal-v0", "--machine", "real", "--video", tmp_path / "a.mp4")
    assert_one_clear_sentence(done, "nc_gym/Terminal-v0", "--agent random")


def test_without_bubblewrap_the_package_is_named(tmp_path):
    only = tmp_path / "bin"
    only.mkdir()
    (only / "setsid").symlink_to("/usr/bin/setsid")
    done = run("collect", "terminal", "--sessions", 1, "--out", tmp_path / "traces", path=str(only))
    assert_one_clear_sentence_after_progress(done, "bubblewrap")


def assert_one_clear_sentence_after_progress(done, *words):
    """The progress bar may have printed before; the error is the last line and no traceback is shown."""
    assert done.returncode == 1
    assert "Traceback" not in done.stderr + done.stdout
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("nc-gym: ") and all(word in last for word in words), done.stderr


def test_an_unwritable_video_is_one_clear_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    done = run(
        "record", "nc_gym/TerminalEcho-v0", "--machine", "real", "--video", tmp_path / "file" / "a.mp4"
    )  # fmt: skip
    assert_one_clear_sentence(done, str(tmp_path / "file"))


def test_only_errors_raised_on_purpose_lose_their_traceback():
    from nc_gym.video import tile

    for call, purpose in [(lambda: tile([]), True), (lambda: tile([None]), False), (lambda: int("x"), False)]:
        try:
            call()
        except Exception as error:
            assert raised_on_purpose(error) is purpose
