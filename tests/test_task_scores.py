"""``nc-gym tasks``: scores of oracle and random policy, films, and going on after an interruption."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import pytest

from nc_gym import task_scores

ECHO = "nc_gym/TerminalEcho-v0"


def measure(out: Path, weights: Path, **changes: Any) -> dict[str, Any]:
    return task_scores.measure(
        **(
            {
                "card": "terminal",
                "tasks": [ECHO],
                "out": out,
                "episodes": 2,
                "seed": 1,
                "weights": weights,
                "device": "cpu",
            }
            | changes
        )
    )


def test_scores_are_written_and_a_second_run_measures_nothing_again(
    tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    result = measure(tmp_path, tiny_weights)
    assert json.loads((tmp_path / "tasks_terminal.json").read_text()) == result
    scores = {(s["actions"], s["player"], s["machine"]): s for s in result["scores"]}
    assert len(scores) == 8
    for actions in ("keys", "words"):
        real = scores[actions, "oracle", "real"]
        assert real["success_rate"] == real["mean_return"] == 1 and real["audited_rate"] is None  # no audit
        assert scores[actions, "random", "real"]["success_rate"] == 0
        assert scores[actions, "oracle", "neural"]["audited_rate"] is None
    task_scores.show(result)
    assert "TerminalEcho" in capsys.readouterr().out
    frames = imageio.imread(tmp_path / "envs" / "TerminalEcho-v0.gif")
    assert frames.shape[1:] == (224, 320, 3) and len(frames) > 5

    lost = dict(result, scores=[s for s in result["scores"] if s["player"] == "oracle"])
    (tmp_path / "tasks_terminal.json").write_text(json.dumps(lost))
    played = []
    evaluate = task_scores.evaluate
    monkeypatch.setattr(task_scores, "film", lambda *_: None)
    monkeypatch.setattr(
        task_scores, "evaluate", lambda *args, **kwargs: (played.append(args[1].name), evaluate(*args, **kwargs))[1]
    )
    assert measure(tmp_path, tiny_weights) == result
    assert played == ["random"] * 4  # only what was missing
    measure(tmp_path, tiny_weights, seed=2)
    printed = " ".join(capsys.readouterr().out.split())  # wrapped where the path's length says
    assert "measuring everything anew" in printed and len(played) == 12


def test_unknown_task_is_named(tiny_weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no task 'nc_gym/Terminal-v0'; the tasks are nc_gym/TerminalEcho-v0, "):
        measure(tmp_path, tiny_weights, tasks=["nc_gym/Terminal-v0"])


def test_missing_weights_are_named_and_nothing_measured_is_lost(tmp_path: Path) -> None:
    (tmp_path / "tasks_terminal.json").write_text("{}")
    with pytest.raises(ValueError, match=r"no weights at .*nowhere: expected .*model\.safetensors; pass a folder"):
        measure(tmp_path, tmp_path / "nowhere")
    assert (tmp_path / "tasks_terminal.json").read_text() == "{}" and len(list(tmp_path.iterdir())) == 1
