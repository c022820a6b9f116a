"""Fidelity of desktops: each measure on screens made by hand, then the real desktop as its own twin, then impostors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import typer
import yaml
from tiny_desktop import save_tiny_desktop
from typer.testing import CliRunner

from nc_gym import desktop_fidelity, desktop_fidelity_report, desktop_fidelity_study, model_card, readme_tables
from nc_gym import desktop_fidelity_measures as measures
from nc_gym import desktop_fidelity_scores as pixels
from nc_gym.cli import app
from nc_gym.computer.config import NeuralComputerConfig
from nc_gym.computer.weights import WeightsError
from nc_gym.desktop_fidelity_pointer import pointer_errors
from nc_gym.desktop_fidelity_run import DesktopSessions, Film, held_out_sessions, record, replay
from nc_gym.desktop_fidelity_text import read_window, terminal_of, text_scores
from nc_gym.desktop_fidelity_transitions import event_name, overlap, transition_classes, transitions
from nc_gym.machines.desktop import XDesktop
from nc_gym.machines.desktop_events import event, position
from nc_gym.machines.font import draw, glyph_index
from nc_gym.machines.pointer import Sprite, composite
from nc_gym.machines.window import Window
from nc_gym.traces.desktop_mix import make_user
from nc_gym.traces.desktop_users import LAUNCHERS, Act

ARROW = Sprite(
    np.array([[255, 255, 255, 255]] * 6 + [[0, 0, 0, 255]] * 4 + [[0, 0, 0, 0]] * 2, np.uint8).reshape(4, 3, 4), (1, 1)
)
IDLE = event(160, 120)


def blank(value: int = 100) -> np.ndarray:
    return np.full((240, 320, 3), value, np.uint8)


def film_of(*sessions: list[np.ndarray]) -> Film:
    film = Film()
    for screens in zip(*sessions, strict=True):
        film.add(np.stack(screens))
    return film


def sessions_of(film: Film, count: int, events: list, purposes: list[str], windows=(), beyond=None) -> DesktopSessions:
    """Sessions that all have the same events, the pointer at (160, 123), and these windows all the time."""
    steps = len(events)
    pointers = np.broadcast_to(np.array([160, 123, 0]), (count, steps + 1, 3)).copy()
    return DesktopSessions(
        ("goal",) * count, np.arange(count), np.array([events] * count), [purposes] * count,
        [[list(windows)] * (steps + 1)] * count, pointers, [ARROW],
        np.zeros((count, steps)) if beyond is None else np.array(beyond), film, np.zeros(count, bool),
    )  # fmt: skip


class Impostor:
    """A machine that shows what happened on the real desktop, altered."""

    screen_shape = (240, 320, 3)

    def __init__(self, real: DesktopSessions, alter) -> None:
        self.num_rows, self.real, self.alter, self.t = len(real.users), real, alter, 0

    def reset(self, rows, seeds, boots) -> None:
        assert rows.all() and not boots.any()
        self.t = 0

    def step(self, events, rows) -> None:
        assert rows.all() and events.shape == (self.num_rows, 4)
        self.t += 1

    def screens(self) -> np.ndarray:
        return self.alter(self.real.film.at(min(self.t, self.real.events.shape[1])), self.t)

    def close(self) -> None:
        pass


@pytest.mark.parametrize(("moved", "distance"), [((0, 0), 0), ((2, 0), 2), ((0, 3), 3), ((-30, 40), 50)])
def test_a_pointer_is_found_where_it_is_drawn(moved, distance):
    screen = np.random.default_rng(0).choice(np.array([0, 170, 255], np.uint8), (240, 320, 1)).repeat(3, 2)
    composite(screen, ARROW, 160 + moved[0], 123 + moved[1])
    assert pointer_errors(screen[None], ARROW, np.array([[160, 123]])).tolist() == [distance]


@pytest.mark.parametrize("place", [(0, 0), (319, 0), (0, 239), (319, 239), (318, 100), (5, 238)])
def test_a_pointer_that_sticks_out_of_the_screen_is_found(place):
    screen = blank()
    composite(screen, ARROW, *place)
    assert pointer_errors(screen[None], ARROW, np.array([place])).tolist() == [0]


def test_a_smeared_pointer_is_found_and_a_missing_one_is_not():
    smeared, missing = blank(), blank()
    composite(smeared, ARROW, 160, 123)
    smeared[124, 161] = 90  # one pixel of ten
    missing[200:204, 20:23] = 255  # the best that is left: white where the arrow is white
    found = pointer_errors(np.stack([smeared, missing]), ARROW, np.array([[160, 123]] * 2))
    assert found[0] == 0 and found[1] == pytest.approx(np.hypot(160 - 21, 123 - 201), abs=2)


def test_an_event_that_changed_nothing_counts_in_no_group_of_changed_pixels():
    boot, real = blank(), blank()
    real[10:20, 10:20] = 200
    happened = sessions_of(film_of([boot, real, real]), 1, [IDLE] * 2, ["draw", "idle"])
    found = measures.groups(happened, measures.by_event(happened, film_of([boot, boot, blank()])))["purposes"]
    assert set(found["pixels"]) == {"draw"} and found["pixels"]["draw"]["share"] == 0
    assert found["pixels"]["draw"]["events"] == 1 and set(found["exact"]) == {"draw"}


def test_changed_pixels_are_those_that_left_the_boot_screen_on_either_side():
    boot, real, neural = blank(), blank(), blank()
    real[10:20, 10:20] = 200  # 100 pixels change,
    neural[10:16, 10:20] = 208  # 60 of them right within 8 levels,
    neural[15, 10:20] = 209  # no: 50,
    neural[100, 100:120] = 0  # and 20 change that should not
    film = film_of([boot, real, boot])
    values = measures.by_event(sessions_of(film, 1, [IDLE] * 2, ["idle"] * 2), film_of([boot, neural, boot]))
    assert values["changed_pixels"].tolist() == [[50 / 120, 1.0]]
    assert values["event_pixels"].tolist() == [[0.5, 1.0]] and values["event_changed"].tolist() == [[1, 1]]
    assert values["wrong"].tolist() == [[70, 0]]
    assert values["exact"].tolist() == [[0, 1]] and values["was_exact"].tolist() == [[1, 0]]
    assert values["squared"][0, 0] == pytest.approx(
        (50 * 8**2 + 10 * 9**2 + 40 * 100**2 + 20 * 100**2) / 255**2 / 76800
    )


def test_similarity_of_flat_screens_is_that_of_the_formula():
    low, high = 51 / 255, 102 / 255
    expected = (2 * low * high + 1e-4) / (low**2 + high**2 + 1e-4)
    assert pixels.ssim(blank(51)[None], blank(102)[None]) == pytest.approx([expected], abs=1e-5)
    squared = pixels.squared_errors(np.stack([blank(51), blank(51)]), np.stack([blank(102), blank(51)]))
    assert squared == pytest.approx([0.04, 0])
    assert pixels.psnr(0.04) == pytest.approx(13.9794, abs=1e-4)
    number = pixels.psnr_number(squared[:, None], np.ones((2, 1), bool))
    assert number["mean"] == pytest.approx(16.9897, abs=1e-4) and number["high"] is None and number["screens"] == 2


def test_each_screen_after_an_action_counts_once():
    actions = np.zeros((2, 40), bool)
    actions[0, [3, 10, 30]] = True
    counted = measures.after_actions(actions)
    assert np.flatnonzero(counted[0]).tolist() == [*range(3, 25), *range(30, 40)]
    assert not counted[1].any()
    real = sessions_of(Film(), 1, [IDLE, event(0, 0), event(0, 0, "left press"), event(0, 0, key="a")], ["x"] * 4)
    assert measures.is_action(real).tolist() == [[False, False, True, True]]


def test_a_screen_must_be_nearer_to_its_own_than_to_any_other():
    own, near, far = blank(100), blank(104), blank(200)
    assert pixels.nearest_to_own([blank(101), blank(103), blank(160)], [own, near, far]) == [True, True, True]
    assert pixels.nearest_to_own([blank(102)], [own]) == [None]  # nothing to mistake it for
    assert pixels.nearest_to_own([own, own], [own, own.copy()]) == [None, None]
    assert pixels.nearest_to_own([blank(102), near], [own, near]) == [False, True]  # half-way is not nearer
    assert pixels.nearest_to_own([far, far, far], [own, own.copy(), far]) == [False, False, True]


def two_classes() -> tuple[DesktopSessions, list[list[np.ndarray]]]:
    """Three sessions: "open Term" leads to levels 10, 50, 90; then "close Term" back to 0 in the first only."""
    screens = [[blank(0), blank(10), blank(0)], [blank(0), blank(50), blank(50)], [blank(0), blank(90), blank(90)]]
    beyond = [[1.0, 1.0], [1.0, 0.0], [1.0, 0.02]]
    purposes = ["open Term", "close Term"]
    return sessions_of(film_of(*screens), 3, [event(56, 228, "left click"), IDLE], purposes, beyond=beyond), screens


def test_transition_accuracy_is_the_share_of_events_that_lead_to_their_own_screen():
    real, screens = two_classes()
    assert transition_classes(real) == {"close Term, apart": [(0, 1)], "open Term, apart": [(0, 0), (1, 0), (2, 0)]}
    result = transitions(real, real.film)
    assert (result["classes"], result["not_counted"]) == (1, 1)
    assert result["accuracy"] == result["and_happened"] == {"share": 1.0, "low": 1.0, "high": 1.0, "events": 3}
    assert result["if_nothing_happened"]["share"] == pytest.approx(1 / 3)  # level 0 is nearest to 10
    asleep = transitions(real, film_of(*[[one[0]] * 3 for one in screens]))
    assert asleep["accuracy"]["share"] == pytest.approx(1 / 3) and asleep["and_happened"]["share"] == 0.0
    mixed = transitions(real, film_of(screens[0], screens[2], screens[2]))
    assert mixed["accuracy"]["share"] == mixed["and_happened"]["share"] == pytest.approx(2 / 3)
    assert mixed["table"]["open Term, apart"]["events"] == 3


def test_transitions_are_classed_by_what_was_done_and_whether_windows_overlap():
    left, right = Window("Term", 8, 24, 100, 80, False, False, 0), Window("Edit", 116, 24, 100, 80, False, True, 1)
    assert not overlap([left, right])
    assert overlap([left, Window("Edit", 115, 24, 100, 80, False, True, 1)])  # the frames touch
    assert not overlap([left, Window("Edit", 8, 24, 100, 80, True, False, 1)])  # minimised
    assert not overlap([left, Window("Edit", 8, 128, 100, 80, False, True, 1)])  # frame and title below the other
    names = [event(0, 0), event(0, 0, "wheel up"), event(0, 0, key="x"), event(0, 0, key="Alt-F4")]
    assert [event_name(np.array(each)) for each in names] == ["move", "wheel up", "key", "key Alt-F4"]
    real = sessions_of(Film(), 1, names[:2], ["random", "random"], [left, right], [[0.5, 0.5]])
    assert list(transition_classes(real)) == ["random move, apart", "random wheel up, apart"]


class Script:
    """A user that opens xterm and types."""

    def __init__(self, text: str) -> None:
        self.acts = [Act(event(*LAUNCHERS["Term"], "left click"), "open Term"), Act(event(300, 100), "point")]
        self.acts += [Act(event(300, 100, key="Enter" if char == "\n" else char), "type in Term") for char in text]

    def plan(self, windows):
        acts, self.acts = self.acts, [Act(event(300, 100), "idle")]
        return acts


@pytest.fixture(scope="module")
def typed() -> DesktopSessions:
    with XDesktop(1) as machine:
        return record(machine, [Script("echo hi\npwd")], 13, ["goal"], np.zeros(1, np.int64))


def test_the_reader_finds_what_was_typed_into_xterm(typed):
    window = terminal_of(typed.windows[0][13])
    chars = read_window(typed.film.screen(0, 13), window)
    assert [line.tobytes().decode().rstrip() for line in chars[:3]] == ["~$ echo hi", "hi", "~$ pwd"]
    scores = text_scores(typed, typed.film)
    assert scores.typed.tolist() == [[0, 0, 1, 1, 1, 1, 0, 1, 1, 0, 1, 1, 1]]  # neither the blank nor Enter
    assert np.array_equal(scores.typed, scores.typed_right) and np.array_equal(scores.shown, scores.shown_right)
    assert scores.shown[0, -1] == len("~$echohihi~$pwd")


def with_glyph(typed: DesktopSessions, char: str, at: tuple[int, int], since: int) -> Film:
    """The film with another character in one cell of xterm from event ``since`` on."""
    window = terminal_of(typed.windows[0][13])
    top, left = window.y + 16 * at[0], window.x + 8 * at[1]
    film = Film()
    for t in range(14):
        screens = typed.film.at(t)
        if t >= since:
            screens[0, top : top + 16, left : left + 8] = draw(glyph_index(char), (170, 170, 170), (0, 0, 0))
        film.add(screens)
    return film


def test_a_wrong_letter_is_one_typed_wrong_and_one_shown_wrong_as_long_as_it_stands(typed):
    found = measures.text(typed, with_glyph(typed, "z", (0, 4), since=4))  # for the c of echo, typed by event 4
    right = text_scores(typed, typed.film)
    assert found["typed"] == {"share": 8 / 9, "low": 8 / 9, "high": 8 / 9, "events": 9}
    shown = int(right.shown.sum())
    assert found["shown"]["share"] == pytest.approx((shown - 10) / shown)  # keys 4 to 13 show it


def test_a_letter_that_was_never_typed_counts_among_those_shown(typed):
    found, right = measures.text(typed, with_glyph(typed, "q", (5, 5), since=13)), text_scores(typed, typed.film)
    shown = int(right.shown.sum())
    assert found["typed"]["share"] == 1.0 and found["shown"]["share"] == pytest.approx(shown / (shown + 1))


def test_without_text_no_share_of_text_is_given():
    real, _ = two_classes()
    assert measures.text(real, real.film) == {"typed": None, "shown": None}


@pytest.fixture(scope="module")
def recorded() -> DesktopSessions:
    return held_out_sessions(3, 30, 70001)


def test_held_out_sessions_are_reproducible(recorded):
    again = held_out_sessions(2, 12, 70001)
    assert np.array_equal(recorded.events[:2, :12], again.events) and recorded.users[:2] == again.users
    assert all((recorded.film.at(t)[:2] == again.film.at(t)).all() for t in range(13))


def test_held_out_sessions_are_those_of_users_of_the_evaluation_split(recorded):
    for n, name in enumerate(recorded.users):
        for split, same in (("eval", True), ("train", False)):
            acts = make_user(name, 70001, n, split).plan(recorded.windows[n][0])
            events = recorded.events[n, : len(acts)].tolist()
            assert ([list(act.event) for act in acts] == events) == same


def test_the_real_desktop_is_its_own_twin(recorded, monkeypatch):
    monkeypatch.setattr(desktop_fidelity, "IDLE_NOOPS", 20)
    film, result = desktop_fidelity.judge(XDesktop, recorded, batch=2)
    for name in measures.CURVES:
        assert result["closed_loop"][name] == [1.0] * 30
        assert result["over_all_steps"][name] == {"mean": 1.0, "low": 1.0, "high": 1.0}
    assert result["pointer"]["within"]["share"] == 1.0 and result["pointer"]["error"]["mean"] == 0.0
    assert result["similarity"]["ssim"]["share"] == 1.0 and result["similarity"]["psnr"]["mean"] is None
    assert result["transitions"]["accuracy"]["share"] == result["transitions"]["and_happened"]["share"] == 1.0
    assert {n["share"] for group in result["events"].values() for kind in group.values() for n in kind.values()} == {1}
    assert result["idle"] == {
        "sessions": 3, "events_before": 30, "noops": 20, "pixels_changed": 0, "sessions_changed": 0
    }  # fmt: skip
    assert desktop_fidelity_report.worst(recorded, film) == []


def test_a_desktop_that_never_changes_fails_every_measure(recorded, monkeypatch):
    monkeypatch.setattr(desktop_fidelity, "IDLE_NOOPS", 5)
    boot = recorded.film.at(0)
    _, result = desktop_fidelity.judge(lambda rows: Impostor(recorded, lambda screens, t: boot), recorded)
    away = recorded.pointers[:, 1:, :2] - recorded.pointers[:, :1, :2]
    assert result["pointer"]["within"]["share"] == pytest.approx((np.hypot(away[..., 0], away[..., 1]) <= 2).mean())
    assert result["closed_loop"]["changed_pixels"][-1] == 0.0
    assert result["similarity"]["ssim"]["share"] < 0.95
    assert result["idle"]["pixels_changed"] == 0


def test_a_desktop_that_lags_one_event_behind_makes_no_transition(recorded):
    film = Film()
    for t in range(31):
        film.add(recorded.film.at(max(t - 1, 0)))
    found = transitions(recorded, film)
    assert found["and_happened"]["share"] == 0.0 and found["accuracy"] == found["if_nothing_happened"]


def test_a_desktop_that_blinks_fails_the_idle_test(recorded, monkeypatch):
    monkeypatch.setattr(desktop_fidelity, "IDLE_NOOPS", 7)

    def blink(screens, t):
        screens[1, 0, :3] = t % 2 * 255
        return screens

    idle = desktop_fidelity.idle_test(lambda rows: Impostor(recorded, blink), recorded, progress=False)
    assert (idle["pixels_changed"], idle["sessions_changed"]) == (21, 1)


def test_an_idle_event_keeps_the_pointer_where_it_is(recorded):
    noop = desktop_fidelity.idle_events(recorded)
    assert noop.shape == (3, 4) and not noop[:, 2:].any()
    away = np.array([position(*each) for each in noop[:, :2].tolist()]) - recorded.pointers[:, -1, :2]
    assert (abs(away) < 4).all()


def test_sessions_of_broken_desktops_are_left_out(monkeypatch):
    monkeypatch.setattr(XDesktop, "restarted", lambda self: np.array([True, False]))
    left = held_out_sessions(2, 3, 70001)
    assert left.seeds.tolist() == [70001 * 1_000_003 + 1] and left.film.at(3).shape == (1, 240, 320, 3)
    monkeypatch.setattr(XDesktop, "restarted", lambda self: np.ones(2, bool))
    with pytest.raises(RuntimeError, match="all 2 sessions died or hung"):
        held_out_sessions(2, 3, 70001)


def distorted(screens: np.ndarray, t: int) -> np.ndarray:
    """Session 0 is wrong in 400 pixels from event 9 on, session 2 in 300 after event 5 only."""
    if t >= 9:
        screens[0, 10:30, 10:30] ^= 128
    if t == 5:
        screens[2, 100:110, 100:130] ^= 128
    return screens


@pytest.fixture
def shipped(recorded, monkeypatch):
    """Evaluations of a neural desktop that shows the recorded sessions with errors."""
    config = NeuralComputerConfig(machine="desktop", training={"minutes": 3})
    computer = SimpleNamespace(config=config, device=torch.device("cpu"))
    for module in (desktop_fidelity, desktop_fidelity_study):
        monkeypatch.setattr(module, "held_out_sessions", lambda *_: recorded)
        monkeypatch.setattr(module, "NeuralMachine", lambda computer, rows: Impostor(recorded, distorted))
    monkeypatch.setattr(desktop_fidelity.NeuralComputer, "from_pretrained", lambda *_, **__: computer)
    monkeypatch.setattr(desktop_fidelity, "IDLE_NOOPS", 5)
    return computer


def test_the_worst_events_are_those_that_made_most_pixels_wrong(recorded):
    film = replay(Impostor(recorded, distorted), recorded)
    assert desktop_fidelity_report.worst(recorded, film) == [(0, 9, 400), (2, 5, 300)]
    picture = desktop_fidelity_report.gallery(recorded, film)
    assert picture.shape == (256, 2 * 656 + 16, 3)
    assert np.array_equal(picture[16:256, 336:656][100], recorded.film.screen(0, 9)[100])  # a row without a red box
    agree = desktop_fidelity_report.gallery(recorded, recorded.film)
    assert agree.shape == (16, 656, 3) and agree.any()


def test_an_evaluation_writes_json_plot_and_gallery(shipped, recorded, tiny_weights, tmp_path):
    result = desktop_fidelity.evaluate(tiny_weights, tmp_path / "new", sessions=3, steps=30, progress=False)
    written = json.loads((tmp_path / "new" / desktop_fidelity_report.JSON).read_text())
    assert written.keys() == result.keys() and written["definitions"] == measures.DEFINITIONS
    assert (result["sessions"], result["steps"], result["left_out"], result["denoise_steps"]) == (3, 30, 0, 1)
    exact = result["closed_loop"]["exact"]
    assert exact == pytest.approx([1] * 4 + [2 / 3] + [1] * 3 + [2 / 3] * 22)
    assert result["idle"]["pixels_changed"] == 0
    assert (
        result["command"]
        == f"nc-gym evaluate desktop --weights {tiny_weights} --sessions 3 --steps 30 --seed 70001 --device auto"
    )
    for name in (desktop_fidelity_report.PLOT, desktop_fidelity_report.GALLERY):
        assert (tmp_path / "new" / name).read_bytes().startswith(b"\x89PNG")


def test_aims_are_compared_with_what_was_measured(shipped, tiny_weights, tmp_path):
    result = desktop_fidelity.evaluate(tiny_weights, tmp_path, sessions=3, steps=30, progress=False)
    numbers = desktop_fidelity_report.target_numbers(result)
    assert numbers["pointer within 2 px"][0]["mean"] == result["pointer"]["within"]["share"]
    assert numbers["changed pixels right at event 20"][0] == result["at_steps"]["20"]["changed_pixels"]
    assert numbers["changed pixels right at event 100"][0] is None  # 30 events
    assert {aim for _, aim in numbers.values()} == {0.995, 0.9, 0.95, 0.97}
    *shares, idle = desktop_fidelity_report.aims(result)
    assert [(aim.name, aim.measured, aim.wanted) for aim in shares] == [(name, *numbers[name]) for name in numbers]
    assert (idle.name, idle.measured, idle.wanted, idle.met) == ("pixels changed by 5 no-ops", 0, 0, True)
    cells = list(desktop_fidelity_report.table(result).columns[4].cells)
    assert cells[-1] == "met" and len(cells) == len(numbers) + 1


def test_the_command_evaluates_a_desktop(shipped, tiny_weights, tmp_path):
    words = ["evaluate", "desktop", "--weights", str(tiny_weights), "--out", str(tmp_path), "--sessions", "3"]
    done = CliRunner().invoke(app, [*words, "--steps", "30"])
    assert done.exit_code == 0, done.output
    assert "pointer within 2 px" in done.output and desktop_fidelity_report.GALLERY in done.output


def test_several_desktops_are_compared_on_the_same_sessions(shipped, recorded, tiny_weights, tmp_path):
    folders = {"goal-directed": tiny_weights, "random": tiny_weights}
    result = desktop_fidelity_study.compare(folders, tmp_path / "docs", sessions=3, steps=30, progress=False)
    assert json.loads((tmp_path / "docs" / desktop_fidelity_study.JSON).read_text()).keys() == result.keys()
    rows = result["desktops"]
    assert list(rows) == list(folders) and rows["random"] == rows["goal-directed"]
    assert rows["random"]["training"] == {"minutes": 3} and rows["random"]["pixels changed when idle"] == 0
    for row in rows.values():
        row["training"] = {"sessions": 314, "steps": 1000, "trained_minutes": 8.0}
    (tmp_path / "docs" / desktop_fidelity_study.JSON).write_text(json.dumps(result))
    shown = readme_tables.goal_vs_random(tmp_path)
    assert "| trained on | goal-directed | random |" in shown and "| training sessions | 314 | 314 |" in shown
    _, alone = desktop_fidelity.judge(lambda rows: Impostor(recorded, distorted), recorded)
    assert rows["random"]["transition accuracy"]["mean"] == alone["transitions"]["accuracy"]["share"]


def test_a_label_without_weights_is_refused():
    with pytest.raises(typer.BadParameter, match="'goal'; expected LABEL=WEIGHTS of each"):
        desktop_fidelity_study.main(["goal"])


def test_the_weights_of_a_terminal_are_refused(tiny_weights, tmp_path):
    with pytest.raises(WeightsError, match="are those of a terminal; expected a desktop's"):
        desktop_fidelity.evaluate(tiny_weights, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(WeightsError, match="no weights at"):
        desktop_fidelity.evaluate(tmp_path / "nowhere", tmp_path / "out")


@pytest.mark.parametrize("name", ["sessions", "steps", "batch"])
def test_numbers_below_one_are_refused(name, tmp_path):
    with pytest.raises(ValueError, match=f"{name} is 0; expected at least 1"):
        desktop_fidelity.evaluate(None, tmp_path, **{name: 0})


@pytest.fixture(scope="module")
def random_desktop(tmp_path_factory) -> tuple[Path, dict, Path]:
    """A neural desktop with random weights, and its evaluation."""
    folder = save_tiny_desktop(tmp_path_factory.mktemp("weights") / "desktop")
    out = tmp_path_factory.mktemp("docs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(desktop_fidelity, "IDLE_NOOPS", 3)
        result = desktop_fidelity.evaluate(folder, out, sessions=3, steps=21, device="cpu", batch=2, progress=False)
    return folder, result, out


def test_random_weights_miss_every_aim(random_desktop):
    _, result, _ = random_desktop
    numbers = {name: each for name, each in desktop_fidelity_report.target_numbers(result).items() if each[0]}
    assert len(numbers) > 3 and all(number["mean"] < aim for number, aim in numbers.values())
    assert result["closed_loop"]["exact"] == [0.0] * 21 and result["similarity"]["psnr"]["mean"] < 20


def test_the_model_card_holds_the_measured_numbers(random_desktop):
    folder, result, out = random_desktop
    card = model_card.write_card(folder, out / desktop_fidelity_report.JSON).read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    metrics = {metric["name"]: metric["value"] for metric in front["model-index"][0]["results"][0]["metrics"]}
    share = result["pointer"]["within"]["share"]
    assert metrics["pointer within 2 px"] == pytest.approx(share, abs=1e-6)
    assert front["model-index"][0]["name"] == "nc_gym desktop"
    aimed = f"| pointer within 2 px | {share:.4f} ["
    for needle in ("# A neural desktop", aimed, result["command"], *result["weights"]["sha256"].values()):
        assert needle in card
    assert "Aims that it misses: pointer within 2 px, " in card and "terminal of this kind" not in card
    changed = result["idle"]["pixels_changed"]
    assert changed and f"| pixels changed by 3 no-ops | {changed:,} | 0 |" in card
    assert "pixels changed by 3 no-ops. What was tried" in card and "(../../docs/design-notes.md)" in card


def test_readmes_table_says_which_aims_are_missed(random_desktop, tmp_path):
    assert "Not measured yet" in readme_tables.desktop_fidelity(tmp_path)
    _, result, out = random_desktop
    (tmp_path / "docs").mkdir()
    shutil.copy(out / desktop_fidelity_report.JSON, tmp_path / "docs")
    text = readme_tables.desktop_fidelity(tmp_path)
    number = result["pointer"]["within"]
    interval = f"{number['share']:.4f} ({number['low']:.3f}–{number['high']:.3f})"
    assert f"| pointer within 2 px | {interval} | ≥ 0.995 | missed |" in text
    assert "| changed pixels right at event 100 | not measured | ≥ 0.9 |  |" in text
