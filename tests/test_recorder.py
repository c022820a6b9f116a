"""Recording on real bash: reproducible, resumable after the worst, and never two recordings in one folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from small_disk import grow, small_disk

from nc_gym.machines.keys import encode
from nc_gym.traces.cast import CastError, read_cast
from nc_gym.traces.collecting import RecordingError
from nc_gym.traces.recorder import cast_path, collect_terminal, drive

SESSIONS, STEPS, SEED = 40, 20, 7
COLLECT = f"from nc_gym.traces.recorder import *; collect_terminal({SESSIONS}, {STEPS}, {SEED}, %r, workers=%d)"


def collect(out, sessions=SESSIONS, steps=STEPS, seed=SEED, **options):
    return collect_terminal(sessions, steps, seed, out, progress=False, **options)


def contents(out):
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def casts(out):
    return sorted(out.rglob("*.cast"))


def works(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """An uninterrupted recording by one worker."""
    out = tmp_path_factory.mktemp("reference")
    assert collect(out, workers=1) == SESSIONS
    return out


@pytest.fixture
def running(tmp_path):
    """A recording in another process, some of whose sessions are there already: (process, folder, log)."""
    out, log = tmp_path / "out", tmp_path / "log"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with log.open("w") as file:
        process = subprocess.Popen([sys.executable, "-c", COLLECT % (str(out), 2)], stderr=file, env=environment)
    try:
        deadline = time.monotonic() + 60
        while not casts(out):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.005)
        yield process, out, log
    finally:
        process.kill()
        process.wait()


def test_one_seed_gives_the_same_files_with_any_number_of_workers(reference, tmp_path):
    assert len(contents(reference)) == SESSIONS
    assert collect(tmp_path, workers=3) == SESSIONS
    assert contents(tmp_path) == contents(reference)


def test_another_seed_or_split_gives_other_sessions(reference, tmp_path):
    known = {tuple(read_cast(path).events) for path in casts(reference)}
    assert len(known) == SESSIONS
    for options in ({"seed": SEED + 1}, {"split": "eval"}):
        out = tmp_path / str(options)
        collect(out, sessions=8, workers=1, **options)
        assert not known & {tuple(read_cast(path).events) for path in casts(out)}


def test_a_cast_says_how_it_was_made(reference):
    info = read_cast(cast_path(reference, 5)).info
    assert {name: info[name] for name in ("machine", "seed", "session", "split", "geometry")} == {
        "machine": "terminal", "seed": SEED, "session": 5, "split": "train", "geometry": [12, 40],
    }  # fmt: skip
    assert info["user"] in ("goal", "recall", "typist") and "bubblewrap" in info["sandbox"]


def test_after_kill_9_the_same_command_completes_the_recording(running, reference):
    process, out, _ = running
    helpers = psutil.Process(process.pid).children(recursive=True)
    assert len(helpers) > 2  # workers and their shells
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while any(works(helper) for helper in helpers):
        assert time.monotonic() < deadline, "workers or shells live on"
        time.sleep(0.01)
    kept = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in casts(out)}
    assert 0 < len(kept) < SESSIONS
    assert collect(out, workers=1) == SESSIONS - len(kept)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in kept} == kept
    assert contents(out) == contents(reference)


def test_a_killed_worker_ends_the_recording_with_one_clear_error(running, reference):
    process, out, log = running
    workers = [child for child in psutil.Process(process.pid).children() if "spawn_main" in " ".join(child.cmdline())]
    workers[0].send_signal(signal.SIGKILL)
    assert process.wait(timeout=60) == 1
    assert "RecordingError: a worker process was killed" in log.read_text()
    kept = len(casts(out))
    assert f"after {kept} new sessions; all of them are kept" in log.read_text()
    assert collect(out, workers=1) == SESSIONS - kept
    assert contents(out) == contents(reference)


def test_a_full_disk_gives_one_clear_error_and_keeps_what_was_recorded(reference, tmp_path):
    with small_disk(tmp_path / "disk", kilobytes=64) as disk:
        with pytest.raises(RecordingError) as raised:
            collect(disk / "out", workers=2)
        kept = contents(disk / "out")
        assert 0 < len(kept) < SESSIONS
        assert str(raised.value) == (
            f"no space left on the disk of {disk / 'out'} after {len(kept)} new sessions; all of them are kept: "
            "free some space and run the same command again to go on"
        )
        assert kept.items() <= contents(reference).items()
        grow(disk, kilobytes=4096)
        assert collect(disk / "out", workers=1) == SESSIONS - len(kept)
        assert contents(disk / "out") == contents(reference)


def test_a_larger_number_of_sessions_continues_a_recording(reference, tmp_path):
    assert collect(tmp_path, sessions=3, workers=1) == 3
    assert collect(tmp_path, sessions=5, workers=1) == 2
    assert collect(tmp_path, sessions=5, workers=1) == 0
    assert contents(tmp_path).items() <= contents(reference).items()


@pytest.mark.parametrize(
    "other", [{"seed": SEED + 1}, {"steps": STEPS + 1}, {"split": "eval"}, {"users": {"drill": 1.0}}]
)
def test_another_recording_is_not_mixed_into_a_folder(reference, other):
    before = contents(reference)
    with pytest.raises(
        ValueError, match=r"holds a recording with seed, split, steps and users \(7, 'train', 20, .*\), not .*:"
    ):
        collect(reference, sessions=SESSIONS + 1, workers=1, **other)
    assert contents(reference) == before


def test_a_folder_whose_first_cast_is_damaged_is_named(reference, tmp_path):
    first = cast_path(tmp_path, 0)
    first.parent.mkdir()
    first.write_bytes(cast_path(reference, 0).read_bytes()[:-40])
    with pytest.raises(CastError, match=r"000000\.cast .* delete this file and run the same collect command again"):
        collect(tmp_path, sessions=2, workers=1)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"sessions": 0}, "sessions is 0; expected at least 1"),
        ({"steps": -5}, "steps is -5; expected at least 1"),
        ({"workers": 0}, "workers is 0; expected at least 1"),
        ({"split": "test"}, "split is 'test'; expected one of train, eval"),
        ({"users": {"hacker": 1.0}}, r"users are \['hacker'\]; expected some of goal, recall, typist, short"),
        ({"users": {}}, r"users are \[\]; expected some of goal"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(tmp_path, wrong, message):
    with pytest.raises(ValueError, match=message):
        collect(tmp_path / "out", **wrong)
    assert not (tmp_path / "out").exists()


def test_a_session_whose_shell_died_is_told_apart():
    outputs, broken = drive([encode("exit\n"), encode("ls")])
    assert [len(output) for output in outputs] == [6, 3]
    assert broken.tolist() == [True, False]
