"""Cast files: nothing is lost in them, no damage goes unnoticed, and asciinema itself plays them."""

from __future__ import annotations

import json
import shlex
import subprocess
from dataclasses import replace

import pytest

from nc_gym.machines.keys import KEY_BYTES, KEY_INDEX, NOOP
from nc_gym.traces.cast import Cast, CastError, dumps, read_cast, write_cast
from nc_gym.traces.home import FAMILY_INDEX
from nc_gym.traces.recorder import cast_path, collect_terminal

ENTER, UP = KEY_INDEX["Enter"], KEY_INDEX["Up"]
CAST = Cast(
    columns=40,
    rows=12,
    info={"seed": 3, "user": "goal", "split": "train"},
    events=[KEY_INDEX["l"], NOOP, UP, ENTER, NOOP],
    families=[0, 0, 0, FAMILY_INDEX["ls"], 0],
    outputs=["\x1b[32m~$\x1b[0m ", "l", "", "\x07", '\r\n"ü" \\ \x7f\r\n~$ ', "late\u2028\x85\x0cend"],
)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "000007.cast"
    write_cast(path, CAST)
    return path


def test_round_trip(path):
    assert read_cast(path) == CAST


def test_every_key_survives_the_round_trip(path):
    keys = list(range(len(KEY_BYTES)))
    cast = replace(CAST, events=keys, families=[0] * len(keys), outputs=[""] * (len(keys) + 1))
    write_cast(path, cast)
    assert read_cast(path) == cast


def test_the_file_is_asciinema_v2_with_times_that_never_go_back(path):
    header, *lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert (header["version"], header["width"], header["height"]) == (2, 40, 12)
    assert header["nc_gym"]["seed"] == 3 and header["nc_gym"]["steps"] == 5
    times = [time for time, _, _ in lines]
    assert times == sorted(times) and times[-1] > times[0]
    assert [data for _, kind, data in lines if kind == "i"] == ["l", "", "\x1b[A", "\r", ""]
    assert [data for _, kind, data in lines if kind == "m"] == ["ls"]


def test_a_file_cut_off_anywhere_is_refused_by_name(path):
    whole = path.read_bytes()
    for size in range(len(whole) - 1):  # without its last newline a file is still complete
        path.write_bytes(whole[:size])
        with pytest.raises(CastError, match=r"000007\.cast is not a complete recording.* run the same collect command"):
            read_cast(path)


def test_any_changed_byte_after_the_header_is_noticed(path):
    whole = path.read_bytes()
    for place in range(whole.index(b"\n") + 1, len(whole) - 1):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(CastError, match=r"000007\.cast"):
            read_cast(path)


@pytest.mark.parametrize(
    "text",
    [
        "", "\x00\x01", "[1, 2]\n", "{}\n", '{"nc_gym": 3, "width": 40, "height": 12}\n',
        '{"nc_gym": {}, "width": 40, "height": 12}\n', '{"version": 2, "width": 80, "height": 24}\n[0.1, "o", "hi"]\n',
    ],
)  # fmt: skip
def test_a_file_that_is_no_recording_is_refused_by_name(path, text):
    path.write_text(text)
    with pytest.raises(CastError, match=r"000007\.cast .* expected an asciinema v2 file from 'nc-gym collect'"):
        read_cast(path)


def test_bytes_that_are_no_text_are_refused_by_name(path):
    path.write_bytes(path.read_bytes() + b"\xff\xfe")
    with pytest.raises(CastError, match=r"000007\.cast"):
        read_cast(path)


def test_a_recording_of_the_first_days_without_a_checksum_is_read(path):
    header, rest = dumps(CAST).split("\n", 1)
    info = json.loads(header)
    del info["nc_gym"]["crc32"]
    path.write_text(json.dumps(info) + "\n" + rest)
    assert read_cast(path) == CAST


def test_a_write_that_fails_keeps_the_old_file(path):
    path.with_name(path.name + ".part").symlink_to("/dev/full")  # the kernel answers "no space left on device"
    with pytest.raises(OSError, match="No space left"):
        write_cast(path, replace(CAST, info={"seed": 4}))
    assert read_cast(path) == CAST
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("verb", ["cat", "play --speed 100000"])
def test_asciinema_prints_exactly_what_bash_printed(tmp_path, verb):
    """asciinema (checked with 2.2.0) opens /dev/tty, which ``script`` provides, and puts it into raw mode."""
    version = subprocess.run(["asciinema", "--version"], capture_output=True, text=True, check=True).stdout.split()[-1]
    if not version.startswith("2."):
        pytest.skip(f"asciinema is {version}: only those of 2.x print a recording's output")
    users = {"goal": 0.5, "typist": 0.5}
    collect_terminal(4, 120, seed=11, out=tmp_path, workers=1, users=users, progress=False)
    for index in range(4):
        path = cast_path(tmp_path, index)
        command = f"asciinema {verb} {shlex.quote(str(path))}"
        played = subprocess.run(
            ["script", "-qec", command, "/dev/null"], stdin=subprocess.DEVNULL, capture_output=True, timeout=60
        )
        assert played.returncode == 0, played.stdout
        printed = "".join(read_cast(path).outputs)
        assert len(printed) > 200
        assert played.stdout.decode() == printed
