"""The real terminal: settled, deterministic screens of real bash, drawn exactly."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from nc_gym.machines import font
from nc_gym.machines.keys import KEY_INDEX, KEYS, encode
from nc_gym.machines.machine import Machine
from nc_gym.machines.terminal import RUN_CAP, BashTerminal

ONE = np.ones(1, np.bool_)
ZERO = np.zeros(1, np.int64)
GREEN = tuple(font.PALETTE[2])


@pytest.fixture
def machine() -> Iterator[BashTerminal]:
    with BashTerminal() as terminal:
        terminal.reset(ONE, ZERO, ZERO)
        yield terminal


def press(machine: BashTerminal, *keys: str) -> None:
    for key in keys:
        machine.step(np.array([KEY_INDEX[key]]), ONE)


def type_text(machine: BashTerminal, text: str) -> None:
    for event in encode(text):
        machine.step(np.array([event]), ONE)


def text_of(machine: BashTerminal, row: int = 0) -> str:
    return "\n".join(bytes(line).decode().rstrip() for line in machine.chars()[row]).rstrip()


def test_boots_into_a_green_prompt_in_an_empty_home(machine: BashTerminal) -> None:
    typed: Machine = machine
    assert typed.num_rows == 1 and typed.screen_shape == (192, 320, 3)
    assert text_of(machine) == "~$" and machine.cursors().tolist() == [[0, 3]]
    screen = machine.screens()
    assert screen.shape == (1, 192, 320, 3) and screen.dtype == np.uint8
    assert (screen[0, :16, :8] == font.draw(font.glyph_index("~"), GREEN, (0, 0, 0))).all()
    assert (screen[0, :16, 24:32] == (170, 170, 170)).all() and not screen[0, :, 32:].any()  # the block cursor
    assert machine.run(0, ["ls", "-A"]) == ""


def test_every_key_shows_its_echo_at_once(machine: BashTerminal) -> None:
    text = "echo Hello, World"
    for count, event in enumerate(encode(text), 1):
        machine.step(np.array([event]), ONE)
        assert text_of(machine) == ("~$ " + text[:count]).rstrip()
        assert machine.cursors().tolist() == [[0, 3 + count]]


def test_enter_shows_the_output_and_the_next_prompt(machine: BashTerminal) -> None:
    type_text(machine, "echo one two > f; mkdir d; cat f; ls; cd d; pwd\n")
    assert text_of(machine) == ("~$ echo one two > f; mkdir d; cat f; ls;\n cd d; pwd\none two\nd  f\n/home/user/d\nd$")
    blue = font.draw(font.glyph_index("d"), font.color("blue", True, 7), (0, 0, 0))
    assert (machine.screens()[0, 48:64, :8] == blue).all()  # ls paints directories


def test_editing_keys_do_what_they_say(machine: BashTerminal) -> None:
    type_text(machine, "echo ab")
    press(machine, "Left")
    type_text(machine, "x\b\by")
    assert text_of(machine) == "~$ echo yb" and machine.cursors().tolist() == [[0, 9]]
    press(machine, "Right", "Enter")
    assert text_of(machine) == "~$ echo yb\nyb\n~$"
    press(machine, "Up")
    assert text_of(machine).endswith("~$ echo yb")
    press(machine, "Ctrl-U")
    assert text_of(machine).endswith("yb\n~$")
    press(machine, "Up", "Down", "Ctrl-L")
    assert text_of(machine) == "~$"
    type_text(machine, "half")
    press(machine, "Ctrl-C")
    assert text_of(machine) == "~$ half^C\n~$"


def test_tab_completes_and_lists_without_asking(machine: BashTerminal) -> None:
    type_text(machine, "touch alpha1 alpha2 beta; clear\n")
    type_text(machine, "ls b\t")
    assert text_of(machine) == "~$ ls beta" and machine.cursors().tolist() == [[0, 11]]
    press(machine, "Ctrl-U")
    type_text(machine, "ls al\t")
    assert text_of(machine) == "~$ ls alpha"
    type_text(machine, "\t\t")
    assert "alpha1  alpha2" in text_of(machine)
    press(machine, "Ctrl-C")
    type_text(machine, "\t\t")  # every command there is: no question, no pager
    assert text_of(machine).endswith("~$") and machine.cursors()[0, 1] == 3


def test_noop_changes_nothing_at_the_prompt(machine: BashTerminal) -> None:
    type_text(machine, "ls -a\n")
    before = machine.screens()
    press(machine, *["noop"] * 5)
    assert (machine.screens() == before).all() and machine.output() == [b""]


def test_long_lines_wrap_where_the_screen_ends(machine: BashTerminal) -> None:
    type_text(machine, "x" * 37)
    assert machine.cursors().tolist() == [[1, 0]]
    type_text(machine, "y" * 43)
    assert text_of(machine) == "~$ " + "x" * 37 + "\n" + "y" * 40 + "\nyyy"
    for _ in range(70):
        press(machine, "Backspace")
    assert text_of(machine) == "~$ " + "x" * 10 and machine.cursors().tolist() == [[0, 13]]
    press(machine, "Ctrl-U")
    assert text_of(machine) == "~$"


def test_screen_scrolls(machine: BashTerminal) -> None:
    type_text(machine, "seq 2000\n")
    assert text_of(machine) == "\n".join(map(str, range(1990, 2001))) + "\n~$"


def test_program_that_reads_the_terminal_settles_at_once(machine: BashTerminal) -> None:
    type_text(machine, "cat | tr a-c A-C\nabc\n")
    assert machine._busy == [0.0]  # no step ran into its cap
    assert text_of(machine) == "~$ cat | tr a-c A-C\nabc\nABC"
    press(machine, "Ctrl-C")
    type_text(machine, "clear\ncat\nabc\n")
    assert text_of(machine) == "~$ cat\nabc\nabc" and machine._busy == [0.0]
    press(machine, "Ctrl-C")
    type_text(machine, "read name\nbob\necho $name\n")
    assert text_of(machine).endswith("~$ read name\nbob\n~$ echo $name\nbob\n~$") and machine._busy == [0.0]


def test_command_that_runs_on_is_capped_and_later_steps_show_the_rest(machine: BashTerminal) -> None:
    type_text(machine, "mkfifo p; clear\n")
    start = time.perf_counter()
    type_text(machine, "echo a; cat p; echo b\n")
    assert RUN_CAP < time.perf_counter() - start
    assert text_of(machine).endswith("\na")
    for _ in range(3):
        press(machine, "noop")
        assert text_of(machine).endswith("\na") and not machine.restarted().any()
    machine.run(0, ["bash", "-c", ": > p"])  # the command goes on only now, so no clock takes part
    press(machine, "noop")
    assert text_of(machine).endswith("\na\nb\n~$") and not machine.restarted().any()


def test_command_that_gets_no_processor_still_ends_within_its_step() -> None:
    """Eight busy loops share the one core that bash may use; its command then takes far longer than ``RUN_CAP``."""
    core = min(os.sched_getaffinity(0))
    burn = [sys.executable, "-c", f"import os\nos.sched_setaffinity(0, [{core}])\nos.write(1, b'x')\nwhile True: pass"]
    with BashTerminal() as machine:
        machine.reset(ONE, ZERO, ZERO)
        os.sched_setaffinity(machine._shells[0].pid, [core])
        burners = [subprocess.Popen(burn, start_new_session=True, stdout=subprocess.PIPE) for _ in range(8)]
        try:
            assert all(burner.stdout and burner.stdout.read(1) == b"x" for burner in burners)  # all of them burn
            type_text(machine, "for((i=0;i<120000;i++));do :;done;echo done")
            start = time.perf_counter()
            press(machine, "Enter")
            took = time.perf_counter() - start
        finally:
            for burner in burners:
                burner.kill()
                burner.wait()
                burner.stdout.close()
        assert text_of(machine).endswith("\ndone\n~$")
        assert took > RUN_CAP  # else this test showed nothing


def test_endless_output_is_cut_and_ctrl_c_ends_it(machine: BashTerminal) -> None:
    start = time.perf_counter()
    type_text(machine, "yes\n")
    assert len(machine.output()[0]) <= 1 << 16
    press(machine, "noop", "noop", "Ctrl-C")
    for _ in range(20):
        press(machine, "noop")
    assert text_of(machine).endswith("\n~$")
    assert time.perf_counter() - start < 60


def test_binary_output_breaks_nothing(machine: BashTerminal) -> None:
    type_text(machine, "head -c 20000 /usr/bin/bash; printf '\\e[?5m\\e[9J\\e[>4;2m\\e[1;2;3;4A'\n")
    machine.screens()
    type_text(machine, "reset 2>/dev/null; clear\n")
    type_text(machine, "echo al''ive\n")
    assert text_of(machine).endswith("\nalive\n~$")


def test_shell_that_exits_is_restarted_and_reported(machine: BashTerminal) -> None:
    type_text(machine, "echo x > f; exit")
    assert not machine.restarted().any()
    press(machine, "Enter")
    assert machine.restarted().tolist() == [True]
    assert text_of(machine) == "~$" and machine.run(0, ["ls"]) == ""
    press(machine, "noop")
    assert machine.restarted().tolist() == [False]


def test_boots_are_replayed(machine: BashTerminal) -> None:
    with BashTerminal(3, [[], encode("mkdir d\ncd d\n"), encode("echo $((1+2))")]) as many:
        many.reset(np.ones(3, np.bool_), np.zeros(3, np.int64), np.array([2, 1, 0]))
        assert [text_of(many, row) for row in range(3)] == ["~$ echo $((1+2))", "~$ mkdir d\n~$ cd d\nd$", "~$"]
        screens = many.screens()
        assert (screens[2] == machine.screens()[0]).all()
        many.reset(np.array([True, False, False]), np.zeros(3, np.int64), np.array([1, 0, 0]))
        assert (many.screens()[0] == screens[1]).all() and (many.screens()[1:] == screens[1:]).all()


def test_rows_do_not_share_anything() -> None:
    with BashTerminal(3) as machine:
        machine.reset(np.ones(3, np.bool_), np.zeros(3, np.int64), np.zeros(3, np.int64))
        texts = ["echo a > f\n", "echo b > f\n", "ls; pwd; :\n"]
        for events in zip(*map(encode, texts), strict=True):
            machine.step(np.array(events), np.ones(3, np.bool_))
        assert [machine.run(row, ["bash", "-c", "cat f; true"]) for row in (0, 1)] == ["a\n", "b\n"]
        assert machine.run(2, ["ls"]) == "" and text_of(machine, 2) == "~$ ls; pwd; :\n/home/user\n~$"
        before = machine.chars()
        machine.step(np.full(3, KEY_INDEX["z"]), np.array([False, True, False]))
        assert (machine.chars() != before).any((1, 2)).tolist() == [False, True, False]


def test_wrong_use_is_explained(machine: BashTerminal) -> None:
    with pytest.raises(ValueError, match=r"event 106 in row 0 is no key; expected 0 to 105"):
        machine.step(np.array([len(KEYS)]), ONE)
    with pytest.raises(ValueError, match=r"boot 1 of row 0 does not exist; choose 0 to 0"):
        machine.reset(ONE, ZERO, np.ones(1, np.int64))
    with BashTerminal() as fresh:
        with pytest.raises(RuntimeError, match=r"row 0 was stepped before its first reset: call reset"):
            fresh.step(ZERO, ONE)
        with pytest.raises(RuntimeError, match="row 0 has no shell"):
            fresh.run(0, ["ls"])
    assert text_of(machine) == "~$"


def test_a_boot_that_ends_the_shell_is_an_error_not_half_a_boot() -> None:
    with BashTerminal(1, [encode("echo a\nexit\n")]) as machine:
        with pytest.raises(RuntimeError, match=r"rows \[0\] died or hung in their boots 3 times; check .* boots \[0\]"):
            machine.reset(ONE, np.zeros(1, np.int64), np.zeros(1, np.int64))


def test_close_leaves_no_process_and_no_file_behind() -> None:
    files = sorted(os.listdir("/proc/self/fd"))
    machine = BashTerminal(2)
    for _ in range(3):
        machine.reset(np.ones(2, np.bool_), np.zeros(2, np.int64), np.zeros(2, np.int64))
    pids = [shell._process.pid for shell in machine._shells.values()]
    pids += [shell.pid for shell in machine._shells.values()] + [shell._init for shell in machine._shells.values()]
    assert all(Path(f"/proc/{pid}").exists() for pid in pids)
    machine.close()
    machine.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)  # not even as zombies
    assert sorted(os.listdir("/proc/self/fd")) == files


def test_queue_is_emptied_before_a_key_that_sends_a_signal(
    machine: BashTerminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or readline, woken by the signal while the kernel clears the queue, may wait for another key (n_tty.c, isig)."""
    emptied = []
    monkeypatch.setattr(termios, "tcflush", lambda file, queue: emptied.append(queue))
    press(machine, "a", "Enter", "Ctrl-U")
    assert not emptied
    press(machine, "Ctrl-C")
    assert emptied == [termios.TCIFLUSH]
    type_text(machine, "stty -isig; cat\n")
    press(machine, "Ctrl-C")  # to cat a key like others: what was typed before it is to be read
    assert emptied == [termios.TCIFLUSH]


def test_shells_run_where_file_numbers_are_above_a_thousand() -> None:
    """As with some two hundred rows: select takes none above 1,023."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    files = [os.open("/dev/null", os.O_RDONLY) for _ in range(1030)]
    try:
        with BashTerminal() as terminal:
            terminal.reset(ONE, ZERO, ZERO)
            type_text(terminal, "for((i=0;i<20000;i++));do :;done; echo up\n")
            assert text_of(terminal).endswith("\nup\n~$")
    finally:
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_closing_a_shell_that_dies_just_then_leaves_no_file_open(monkeypatch: pytest.MonkeyPatch) -> None:
    files = len(os.listdir("/proc/self/fd"))
    machine = BashTerminal()
    machine.reset(ONE, ZERO, ZERO)
    shell = machine._shells[0]
    signal.pidfd_send_signal(shell._init_file, signal.SIGKILL)
    shell._process.wait()
    monkeypatch.setattr(type(shell), "alive", lambda self: True)  # as it was a moment ago
    machine.close()
    assert len(os.listdir("/proc/self/fd")) == files
