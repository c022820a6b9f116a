"""Training shards: exactly the real machine's screens, and damage never spreads."""

from __future__ import annotations

import re
import shutil
from dataclasses import fields, replace
from itertools import pairwise

import numpy as np
import pytest
from small_disk import grow, small_disk

from nc_gym.machines.terminal import BashTerminal
from nc_gym.traces.cast import read_cast, write_cast
from nc_gym.traces.dataset import Shard, build_shards, load_shard, save_shard
from nc_gym.traces.home import FAMILIES
from nc_gym.traces.recorder import cast_path, collect_terminal
from nc_gym.traces.shards import ShardError
from nc_gym.traces.users import USERS

SESSIONS, STEPS = 6, 60
DTYPES = {
    "tiles": "uint8", "screen0": "int32", "starts": "int64", "events": "uint8", "delta_starts": "int64",
    "delta_pos": "int16", "delta_tile": "int32", "family": "uint8",
}  # fmt: skip


def build(traces, out, sessions_per_shard=2, workers=1):
    return build_shards(traces, out, sessions_per_shard, workers, progress=False)


def contents(paths):
    return {path.name: path.read_bytes() for path in paths}


def tiles_of(screens):
    """Cuts screens (T, 192, 320, 3) into tiles (T, 480, 16, 8, 3)."""
    return screens.reshape(-1, 12, 16, 40, 8, 3).swapaxes(2, 3).reshape(-1, 480, 16, 8, 3)


@pytest.fixture(scope="module")
def traces(tmp_path_factory):
    out = tmp_path_factory.mktemp("traces")
    collect_terminal(SESSIONS, STEPS, 23, out, workers=1, users=dict.fromkeys(USERS, 1.0), progress=False)
    return out


@pytest.fixture(scope="module")
def paths(traces, tmp_path_factory):
    return build(traces, tmp_path_factory.mktemp("shards"))


@pytest.fixture
def shard_path(paths, tmp_path):
    return shutil.copy(paths[0], tmp_path / "shard-00042.npz")


@pytest.fixture
def damaged(traces, tmp_path):
    """A copy of the traces in which session 1 ends in the middle."""
    folder = tmp_path / "damaged"
    shutil.copytree(traces, folder)
    path = cast_path(folder, 1)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return folder


@pytest.fixture(scope="module")
def real_screens(traces):
    """What the real machine shows when it gets the recorded events: per session uint8 (T + 1, 192, 320, 3)."""
    sessions = [read_cast(cast_path(traces, index)).events for index in range(SESSIONS)]
    lengths = np.array([len(session) for session in sessions])
    with BashTerminal(num_rows=SESSIONS) as terminal:
        terminal.reset(np.ones(SESSIONS, bool), np.zeros(SESSIONS, np.int64), np.zeros(SESSIONS, np.int64))
        screens = [terminal.screens()]
        for step in range(lengths.max()):
            events = np.array([session[step] if step < len(session) else 0 for session in sessions])
            terminal.step(events, step < lengths)
            screens.append(terminal.screens())
    return [np.stack(screens)[: length + 1, row] for row, length in enumerate(lengths)]


def test_a_shard_holds_the_screens_of_the_real_machine(paths, real_screens):
    assert [path.name for path in paths] == ["shard-00000.npz", "shard-00001.npz", "shard-00002.npz"]
    shards = [load_shard(path) for path in paths]
    sessions = [(shard, session) for shard in shards for session in range(len(shard.screen0))]
    assert len(sessions) == SESSIONS
    for (shard, session), real in zip(sessions, real_screens, strict=True):
        np.testing.assert_array_equal(np.stack(list(shard.screens(session))), real)
        assert (real[0] != real[-1]).any()


def test_changes_are_exactly_the_tiles_that_differ_in_ascending_order(paths, real_screens):
    shard = load_shard(paths[0])
    event = 0
    for real in real_screens[:2]:
        tiles = tiles_of(real)
        for before, after in pairwise(tiles):
            changed = slice(shard.delta_starts[event], shard.delta_starts[event + 1])
            expected = np.flatnonzero((before != after).any(axis=(1, 2, 3)))
            assert shard.delta_pos[changed].tolist() == expected.tolist()
            np.testing.assert_array_equal(shard.tiles[shard.delta_tile[changed]], after[expected])
            event += 1
    assert event == len(shard.events) and shard.delta_starts[-1] == len(shard.delta_pos) > 100


def test_a_shard_keeps_events_and_families_and_the_promised_types(paths, traces):
    shard = load_shard(paths[1])
    casts = [read_cast(cast_path(traces, index)) for index in (2, 3)]
    assert shard.starts.tolist() == np.cumsum([0] + [len(cast.events) for cast in casts]).tolist()
    assert shard.events.tolist() == [event for cast in casts for event in cast.events]
    assert shard.family.tolist() == [family for cast in casts for family in cast.families]
    assert tuple(shard.families) == FAMILIES
    assert {name: str(getattr(shard, name).dtype) for name in DTYPES} == DTYPES
    assert len(np.unique(shard.tiles.reshape(len(shard.tiles), -1), axis=0)) == len(shard.tiles)


def test_two_workers_write_the_same_shards(paths, traces, tmp_path):
    assert contents(build(traces, tmp_path, workers=2)) == contents(paths)


def test_a_truncated_cast_is_left_out_with_a_warning_and_the_rest_kept(damaged, paths, tmp_path):
    before = {path: path.read_bytes() for path in damaged.rglob("*.cast")}
    with pytest.warns(UserWarning, match=r"left out of shard-00000\.npz: .*000001\.cast is not a complete recording"):
        built = build(damaged, tmp_path / "out")
    whole, rest = load_shard(paths[0]), load_shard(built[0])
    assert (len(whole.screen0), len(rest.screen0)) == (2, 1)
    np.testing.assert_array_equal(list(rest.screens(0)), list(whole.screens(0)))
    assert contents(built[1:]) == contents(paths[1:])
    assert {path: path.read_bytes() for path in damaged.rglob("*.cast")} == before


def test_a_shard_without_any_sound_cast_is_not_left_from_an_earlier_build(damaged, traces, tmp_path):
    build(traces, tmp_path / "out", sessions_per_shard=1)
    with pytest.warns(UserWarning, match=r"000001\.cast"):
        built = build(damaged, tmp_path / "out", sessions_per_shard=1)
    assert sorted((tmp_path / "out").iterdir()) == built
    assert len(built) == SESSIONS - 1


def test_a_cast_of_another_size_is_left_out_with_a_warning(traces, tmp_path):
    cast = read_cast(cast_path(traces, 0))
    write_cast(tmp_path / "wide.cast", replace(cast, columns=80))
    write_cast(tmp_path / "sound.cast", cast)
    with pytest.warns(UserWarning, match=r"wide\.cast is a recording of \(80, 12\) .* expected \(40, 12\): remove it"):
        built = build(tmp_path, tmp_path / "out")
    assert len(load_shard(built[0]).screen0) == 1


def test_recordings_behind_symbolic_links_are_built_too(traces, tmp_path):
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "yesterday").symlink_to(traces, target_is_directory=True)
    assert sum(len(load_shard(path).screen0) for path in build(tmp_path / "all", tmp_path / "out")) == SESSIONS


def test_a_folder_without_casts_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=re.escape(f"no .cast file in {tmp_path}; record some first with")):
        build(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "one byte", "an array", "an array missing"])
def test_a_damaged_shard_gives_one_clear_error(shard_path, damage):
    data = shard_path.read_bytes()
    if damage == "an array":
        with shard_path.open("wb") as file:
            np.save(file, np.arange(3))
    elif damage == "an array missing":
        shard = load_shard(shard_path)
        np.savez(shard_path, **{field.name: getattr(shard, field.name) for field in fields(Shard)[1:]})
    else:
        middle = data.index(b"delta_pos.npy") + 200
        flipped = data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]
        broken = {"truncated": data[:-50], "empty": b"", "text": b"no archive", "one byte": flipped}
        shard_path.write_bytes(broken[damage])
    with pytest.raises(ValueError, match=r"shard-00042\.npz is not a training shard \(.*\); .* build the shards again"):
        load_shard(shard_path)


def test_a_missing_shard_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_shard(tmp_path / "nowhere.npz")


def test_a_write_that_fails_keeps_the_old_shard(shard_path, paths):
    shard_path.with_name(shard_path.name + ".part").symlink_to("/dev/full")  # the kernel answers "no space left"
    with pytest.raises(OSError, match="No space left"):
        save_shard(shard_path, load_shard(paths[1]))
    assert shard_path.read_bytes() == paths[0].read_bytes()
    assert list(shard_path.parent.iterdir()) == [shard_path]


def test_a_full_disk_gives_one_clear_error_and_keeps_finished_shards(paths, traces, tmp_path):
    with small_disk(tmp_path / "disk", kilobytes=8) as disk:
        with pytest.raises(ShardError) as raised:
            build(traces, disk)
        assert str(raised.value) == (
            f"no space left on the disk while writing shards to {disk}; the recordings and all finished shards are "
            "kept: free some space and build the shards again"
        )
        finished = list(disk.iterdir())
        assert 0 < len(finished) < len(paths)
        assert contents(finished).items() <= contents(paths).items()
        grow(disk, kilobytes=4096)
        assert contents(build(traces, disk)) == contents(paths)
