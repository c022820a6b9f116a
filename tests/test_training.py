"""Training on recordings of real bash: it learns, survives kill -9 and full disks, and ends in weights that load."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_disk import grow, small_disk
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny import tiny_config

import nc_gym.train
from nc_gym.average import average
from nc_gym.computer.batches import ShardError, TokenData, count_tiles, find_shards, tokenize_shard
from nc_gym.computer.codec import TileCodec, fit_codec
from nc_gym.computer.course import TokenCourse
from nc_gym.computer.objective import coming_codes, corrupt, losses, noise_levels
from nc_gym.computer.training import Recipe, Trainer, TrainingError, rate_scale
from nc_gym.computer.weights import WeightsError
from nc_gym.machines.sandbox import SandboxUnavailable
from nc_gym.traces.dataset import build_shards
from nc_gym.traces.recorder import collect_terminal

SESSIONS, STEPS = 6, 60
CONFIG = tiny_config(num_codes=256)
STEP = 0.05 / 60  # minutes that a training step takes here, see ``clock``
QUICK = Recipe(minutes=12 * STEP, tokens_per_step=512, warmup_minutes=STEP, probe_minutes=8 * STEP, probe_steps=8)
CHILD = """
import sys
from pathlib import Path
from test_training import CONFIG, Recipe, Trainer, find_shards
shards, out = find_shards([Path(sys.argv[1])]), Path(sys.argv[2])
trainer = Trainer(shards, shards[:1], out, Recipe(1e6, tokens_per_step=512, checkpoint_minutes=0.005), CONFIG, "cpu")
learn, log = trainer.optimizer.step, open(out / "log", "w", buffering=1)
def step(scale):
    print(trainer.steps, trainer.minutes, file=log)
    return learn(scale)
trainer.optimizer.step = step
trainer.fit()
"""

# TensorBoard's thread dies of a full disk, and pytest may notice only in the next test.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """Training in this process takes 0.05 s per step on any machine; the killed child has the real clock."""
    ticks = itertools.count(0.0, 0.05)
    monkeypatch.setattr(nc_gym.computer.training, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))


@pytest.fixture(scope="module")
def traces(tmp_path_factory):
    out = tmp_path_factory.mktemp("traces")
    collect_terminal(SESSIONS, STEPS, 5, out, workers=1, progress=False)
    return out


@pytest.fixture(scope="module")
def recorded(traces, tmp_path_factory):
    return build_shards(traces, tmp_path_factory.mktemp("shards"), sessions_per_shard=3, workers=1, progress=False)


@pytest.fixture
def shards(recorded, tmp_path):
    """Copies of two shards; caches that training puts beside them are the test's own."""
    folder = tmp_path / "shards"
    folder.mkdir()
    return [Path(shutil.copy(path, folder)) for path in recorded]


def trainer_of(shards, out, recipe=QUICK, config=CONFIG):
    return Trainer(shards[:1], shards[1:], out, recipe, config, "cpu")


def loss_of(trainer):
    batch = trainer.data.batch(list(range(len(trainer.data.sessions))))
    with torch.no_grad():
        return float(losses(trainer.net, batch, torch.Generator().manual_seed(0))["total"])


def masters_of(trainer):
    return [master.clone() for _, master in trainer.optimizer.pairs]


def test_training_lowers_the_loss_and_reports_it(shards, tmp_path):
    global_state = torch.get_rng_state()
    trainer = trainer_of(shards, tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), global_state)
    before = loss_of(trainer)
    trainer.fit()
    assert trainer.steps in (12, 13) and trainer.minutes == pytest.approx(trainer.steps * STEP)
    assert loss_of(trainer) < 0.9 * before
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert {"exact/none", "exact/enter", "closed_loop/exact_4", "closed_loop/tiles_8"} <= set(events.Tags()["scalars"])
    shares = events.Scalars("exact/none")
    assert len(shares) == 2 and all(0 <= share.value <= 1 for share in shares)  # on the way and at the end


def test_a_killed_run_goes_on_and_loses_at_most_one_checkpoint_interval(shards, tmp_path):
    out, tests = tmp_path / "run", Path(__file__).parent
    command = [sys.executable, "-c", CHILD, str(shards[0].parent), str(out)]
    environment = {**os.environ, "PYTHONPATH": str(tests), "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 900
    while not ((out / "checkpoint.pt").exists() and len((out / "log").read_text().splitlines()) > 8):
        assert child.poll() is None, child.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.communicate()

    steps, minutes = np.loadtxt(out / "log").T  # at the start of every step that the child began
    trainer = Trainer(shards, shards[:1], out, QUICK, CONFIG, "cpu")
    assert 0 < trainer.steps <= steps[-1] + 1
    interval, longest_step = 0.005, float(np.diff(minutes).max())
    assert minutes[-1] - trainer.minutes <= interval + longest_step + 1e-9
    resumed_at, kept = trainer.steps, masters_of(trainer)
    trainer.recipe = Recipe(minutes=trainer.minutes + 3 * STEP, tokens_per_step=512, probe_steps=8)
    trainer.fit()
    assert trainer.steps > resumed_at
    assert any(not torch.equal(a, b) for a, b in zip(kept, masters_of(trainer), strict=True))


def test_a_run_that_is_over_goes_on_with_more_minutes_exactly_from_its_end(shards, tmp_path):
    first = trainer_of(shards, tmp_path / "run", Recipe(4 * STEP, tokens_per_step=512, probe_steps=8))
    first.fit()
    again = trainer_of(shards, tmp_path / "run")
    assert (again.steps, again.minutes) == (first.steps, first.minutes)
    assert all(torch.equal(a, b) for a, b in zip(masters_of(first), masters_of(again), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(first.net.parameters(), again.net.parameters(), strict=True))
    batch = first.data.batch([0, 1])
    for trainer in (first, again):  # the optimizers' momenta are back as well
        trainer.generator.manual_seed(3)
        losses(trainer.net, batch, trainer.generator)["total"].backward()
        trainer.optimizer.step(0.5)
    assert all(torch.equal(a, b) for a, b in zip(masters_of(first), masters_of(again), strict=True))


def test_a_full_disk_keeps_the_last_checkpoint(shards, tmp_path):
    with small_disk(tmp_path / "disk", kilobytes=16 * 1024) as disk:
        trainer = trainer_of(shards, disk / "run", Recipe(0.0, probe_steps=8))
        trainer.fit()
        before = trainer.checkpoint.read_bytes()
        free = shutil.disk_usage(disk).free
        (disk / "ballast").write_bytes(bytes(free - len(before) // 2))
        trainer.steps = 77
        with pytest.raises(
            TrainingError, match=r"checkpoint\.pt could not be written \(.*\); free some space and start"
        ):
            trainer.save()
        assert trainer.checkpoint.read_bytes() == before
        assert not list((disk / "run").glob("*.partial"))
        grow(disk, 32 * 1024)
        trainer.save()
        assert trainer_of(shards, disk / "run").steps == 77


def test_a_disk_too_full_for_curves_is_one_clear_error(shards, tmp_path):
    with small_disk(tmp_path / "disk", kilobytes=4096) as disk:
        trainer = trainer_of(shards, disk / "run")
        (disk / "ballast").write_bytes(bytes(shutil.disk_usage(disk).free))
        with pytest.raises(TrainingError, match=r"tensorboard could not be written \(.*\); free some space"):
            for step in range(2000):
                trainer._write_scalars({f"tag{step}-{i}": 1.0 for i in range(20)})
        with contextlib.suppress(OSError):
            trainer.writer.close()  # waits for the thread to die here, not in the next test


def test_another_network_in_the_same_folder_is_refused(shards, tmp_path):
    trainer_of(shards, tmp_path / "run", Recipe(0.0, probe_steps=8)).save()
    for change in ({"width": 16}, {"num_layers": 3}, {"num_codes": 300}):
        with pytest.raises(
            TrainingError, match=r"run/c\w+\.pt belongs to another network .*; train into another folder"
        ):
            trainer_of(shards, tmp_path / "run", config=tiny_config(**({"num_codes": 256} | change)))


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_a_damaged_checkpoint_is_one_clear_error(shards, tmp_path, content):
    trainer = trainer_of(shards, tmp_path / "run")
    trainer.save()
    data = trainer.checkpoint.read_bytes()
    trainer.checkpoint.write_bytes(data[: len(data) // 2] if content is None else content)
    with pytest.raises(TrainingError, match=r"checkpoint\.pt is damaged or of another version; remove it"):
        trainer_of(shards, tmp_path / "run")


def test_a_folder_without_shards(tmp_path):
    with pytest.raises(ShardError, match=rf"no training shards \(shard-\*\.npz\) below {tmp_path}; record some"):
        find_shards([tmp_path])


@pytest.mark.parametrize("damage", ["truncated", "text", "empty"])
def test_a_damaged_shard(shards, tmp_path, damage):
    data = shards[0].read_bytes()
    shards[0].write_bytes({"truncated": data[:-50], "text": b"no shard", "empty": b""}[damage])
    with pytest.raises(ShardError, match=r"shard-00000\.npz is not a training shard \(.*\); remove it and build"):
        trainer_of(shards, tmp_path / "run")


def fitted(shards):
    codec = TileCodec(CONFIG)
    fit_codec(codec, *count_tiles(shards), seed=0)
    return codec


def test_tokens_are_made_once_per_shard_and_codec_and_anew_for_a_new_shard(shards):
    codec = fitted(shards)
    path = tokenize_shard(shards[0], codec)
    made = path.stat().st_mtime_ns
    assert tokenize_shard(shards[0], codec) == path and path.stat().st_mtime_ns == made
    codec.prototypes[3] += 1
    assert tokenize_shard(shards[0], codec) != path
    codec.prototypes[3] -= 1
    os.utime(shards[0], (time.time() + 9, time.time() + 9))
    assert tokenize_shard(shards[0], codec) == path and path.stat().st_mtime_ns > made


def test_batches_hold_every_session_once_padded(shards):
    data = TokenData(shards, fitted(shards), max_tokens=10_000, workers=1)
    batches = data.batches(512, torch.Generator().manual_seed(0))
    seen, total = 0, int(data.lengths.sum())
    while seen < total:
        batch = next(batches)
        lengths = batch["valid"].sum(1)
        assert len(batch["event"]) == 1 or batch["valid"].numel() <= 512
        assert (batch["valid"] == (torch.arange(batch["valid"].shape[1]) < lengths[:, None])).all()
        assert (batch["code_in"][~batch["valid"]] == CONFIG.num_codes).all()
        assert all(sum(data.lengths == int(n)) for n in lengths)
        seen += int(lengths.sum())
    assert seen == total


def test_a_session_that_was_all_right_is_seen_again_in_a_quarter_of_the_passes(shards):
    data = TokenData(shards, fitted(shards), max_tokens=10_000, workers=1)
    data.note(np.arange(1, SESSIONS), np.ones(SESSIONS - 1, bool))  # all but the first
    seen: Counter[int] = Counter()
    for batch in data.batches(512, torch.Generator().manual_seed(0)):
        seen.update(batch["session"].tolist())
        if seen[0] == 101:  # one pass and its start
            break
    assert all(0.1 < seen[i] / 100 < 0.4 for i in range(1, SESSIONS))
    data.note(np.array([1]), np.array([False]))
    assert data.right.tolist() == [False, False] + [True] * (SESSIONS - 2)


def test_training_notes_which_sessions_of_a_batch_were_all_right(shards):
    data = TokenData(shards, fitted(shards), max_tokens=10_000, workers=1)
    batch = data.batch([3, 1, 2])
    right = torch.ones(int(batch["valid"].sum()), dtype=torch.bool)
    right[int(batch["valid"][0].sum())] = False  # the first token of the second one
    TokenCourse().note(data, batch, {"token_right_each": right})
    assert data.right[1:4].tolist() == [False, True, True]


def test_long_sessions_are_cut(shards):
    data = TokenData(shards, fitted(shards), max_tokens=20, workers=1)
    batch = data.batch([0, 1])
    assert batch["event"].shape == (2, 20)
    assert batch["gaze"].shape[1] == int(batch["index"].max()) + 1 == batch["family"].shape[1]


def test_corruption_touches_a_few_inputs_and_no_target(shards):
    batch = TokenData(shards, fitted(shards), max_tokens=10_000, workers=1).batch(list(range(SESSIONS)))
    many = {name: tensor.repeat_interleave(20, 0) for name, tensor in batch.items()}
    out = corrupt(many, torch.Generator().manual_seed(0), CONFIG.num_codes, 50)
    for name in many:
        if name not in ("code_in", "gaze"):
            assert torch.equal(out[name], many[name])
    changed = out["gaze"] != many["gaze"]
    sessions = changed.flatten(1).any(1).float().mean()
    assert 0.1 < sessions < 0.4 and 0 < changed.flatten(1).float().mean(1).max() < 0.03
    assert (out["gaze"][changed] < 50).all()
    unused = many["code_in"] == CONFIG.num_codes
    assert (out["code_in"][unused] == CONFIG.num_codes).all()


def test_coming_codes_are_those_of_one_event_and_of_a_next_one_that_draws_much():
    code = torch.tensor([[[1, 2], [3, 4], [5, 9], [6, 9], [7, 8], [8, 9]], [[1, 1], [2, 2]] + [[0, 0]] * 4])
    index = torch.tensor([[0, 0, 0, 1, 2, 2], [0] * 6])
    first = torch.tensor([[1, 0, 0, 1, 1, 0], [1] + [0] * 5])
    more = torch.tensor([[1, 1, 0, 0, 1, 0], [1] + [0] * 5])
    valid = torch.tensor([[True] * 6, [True] * 2 + [False] * 4])  # the second session is padded
    batch = {"code": code, "index": index, "first": first, "more": more, "valid": valid}
    coming = coming_codes(batch, 2, 9)
    none = [9, 9]
    # tokens 0 and 1: the rest of event 0; 2: event 1 draws one token; 3: all of event 2; 4: its rest
    assert coming[0].tolist() == [[3, 4, 5, 9], [5, 9, *none], none * 2, [7, 8, 8, 9], [8, 9, *none], none * 2]
    assert coming[1, :2].tolist() == [[2, 2, *none], none * 2]


def test_half_of_the_noise_levels_are_pure_noise():
    s = noise_levels(4000, torch.Generator().manual_seed(0))
    assert abs(float((s == 1).float().mean()) - 0.5) < 0.04
    assert 0 <= float(s.min()) < 0.01 and abs(float(s[s < 1].mean()) - 0.5) < 0.03


def test_the_rate_warms_up_stays_and_falls_to_zero():
    recipe = Recipe(minutes=100, warmup_minutes=1.0, decay_share=0.4)
    scales = [rate_scale(minutes, recipe) for minutes in (0, 0.5, 10, 60, 80, 99.99, 100)]
    assert scales == pytest.approx([0.05, 0.55, 1, 1, 0.5, 0.00025, 0])


def test_train_ends_with_a_weights_folder_that_gym_loads(traces, tmp_path):
    weights = nc_gym.train.train(traces, 6 * STEP, tmp_path / "run", 3, None, "cpu", config=CONFIG)
    assert weights == tmp_path / "run" / "weights"
    with gym.make("nc_gym/Terminal-v0", weights=str(weights), device="cpu") as neural:
        shown, _ = neural.reset(seed=0)
        neural.step(neural.unwrapped.encode("l")[0])
    with gym.make("nc_gym/Terminal-v0", machine="real") as real:
        np.testing.assert_array_equal(shown, real.reset(seed=0)[0])  # the boot was recorded from real bash
    facts = nc_gym.computer.weights.read_config(weights).training
    assert facts["revision"] == nc_gym.train._revision() and re.fullmatch(r"[0-9a-f]{40}|unknown", facts["revision"])
    assert facts["seed"] == 3 and facts["steps"] > 0 and facts["command"].startswith("nc-gym train terminal --minutes")
    assert sum(part["sessions"] for part in facts["recordings"]) == SESSIONS
    assert {(part["seed"], part["split"]) for part in facts["recordings"]} == {(5, "train")}
    again = nc_gym.train.train(
        traces, 6 * STEP, tmp_path / "run", 3, None, "cpu", config=CONFIG
    )  # over: only writes anew
    assert nc_gym.computer.weights.read_config(again).training["steps"] == facts["steps"]


def test_training_goes_on_from_a_weights_folder(traces, tmp_path):
    first = nc_gym.train.train(traces, 6 * STEP, tmp_path / "first", 0, None, "cpu", config=CONFIG)
    second = nc_gym.train.train(traces, 0, tmp_path / "second", 1, None, "cpu", start=first)  # no step: only copied
    before, after = (load_file(folder / "model.safetensors") for folder in (first, second))
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert nc_gym.computer.weights.read_config(second).training["command"].endswith(f"--start {first}")


def test_training_takes_what_the_recipe_shall_have_otherwise_and_says_so(traces, tmp_path):
    changes = {"learning_rate": 0.0, "tokens_per_step": 512}
    first = nc_gym.train.train(traces, 0, tmp_path / "first", 0, None, "cpu", config=CONFIG)
    second = nc_gym.train.train(traces, 4 * STEP, tmp_path / "second", 1, None, "cpu", start=first, changes=changes)
    before, after = (load_file(folder / "model.safetensors") for folder in (first, second))
    assert all(torch.equal(before[name], after[name]) for name in before)  # nothing is learned at a rate of 0
    facts = nc_gym.computer.weights.read_config(second).training
    assert facts["steps"] > 0 and facts["learning_rate"] == 0 and facts["tokens_per_step"] == 512
    assert " --learning-rate 0.0 --tokens-per-step 512 --start " in facts["command"]


def test_averaged_weights_lie_between_those_averaged_and_say_so(traces, tmp_path):
    first = nc_gym.train.train(traces, 4 * STEP, tmp_path / "first", 0, None, "cpu", config=CONFIG)
    second = nc_gym.train.train(traces, 4 * STEP, tmp_path / "second", 1, None, "cpu", start=first)
    average({first: 0.25, second: 0.75}, tmp_path / "mean")
    a, b, mean = (load_file(folder / "model.safetensors") for folder in (first, second, tmp_path / "mean"))
    assert any(not torch.equal(a[name], b[name]) for name in a)
    for name in a:
        torch.testing.assert_close(
            mean[name].float(), 0.25 * a[name].float() + 0.75 * b[name].float(), rtol=1e-2, atol=1e-4
        )
    facts = nc_gym.computer.weights.read_config(tmp_path / "mean").training["averaged"]
    assert [(part["folder"], part["share"]) for part in facts] == [(str(first), 0.25), (str(second), 0.75)]
    with pytest.raises(ValueError, match=r"the shares 0\.5, 0\.6 do not add up to 1"):
        average({first: 0.5, second: 0.6}, tmp_path / "never")
    other = nc_gym.train.train(traces, STEP, tmp_path / "other", 0, None, "cpu", config=tiny_config(num_codes=192))
    with pytest.raises(WeightsError, match="have different configurations"):
        average({first: 0.5, other: 0.5}, tmp_path / "never")
    assert not (tmp_path / "never").exists()


@pytest.mark.slow
def test_two_processes_train_one_network(tmp_path, tiny_weights, traces):
    """Two CPU processes stand in for two GPUs; each learns from one shard of two sessions, the third is for probes."""
    build_shards(traces, tmp_path / "run" / "shards", sessions_per_shard=2, progress=False)
    (tmp_path / "run" / "traces.txt").write_text(str(Path(traces).resolve()))
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "--",
        "nc_gym.cli", "train", "terminal", "--traces", str(traces), "--minutes", "0.05", "--threads", "1",
        "--start", str(tiny_weights), "--out", str(tmp_path / "run"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    facts = json.loads((tmp_path / "run" / "weights" / "config.json").read_text())["training"]
    assert facts["processes"] == 2 and facts["sessions"] == SESSIONS - 2
    before, after = (load_file(folder / "model.safetensors") for folder in (tiny_weights, tmp_path / "run" / "weights"))
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_a_run_is_not_resumed_on_other_traces(traces, tmp_path):
    out = tmp_path / "run"
    (out / "shards").mkdir(parents=True)
    (out / "traces.txt").write_text("/elsewhere")
    with pytest.raises(TrainingError, match=r"started on the traces /elsewhere, not .*choose another --out"):
        nc_gym.train.train(traces, 1, out, 0, None, "cpu", config=CONFIG)


def test_an_unknown_device_is_refused(traces, tmp_path):
    with pytest.raises(
        TrainingError, match="device='gpu'; use auto or cpu here, and `accelerate launch` to choose GPUs"
    ):
        nc_gym.train.train(traces, 1, tmp_path / "run", 0, None, "gpu")
    assert not (tmp_path / "run").exists()


def test_a_real_computer_that_is_missing_is_noticed_before_the_training(traces, tmp_path, monkeypatch):
    def missing(self, net, config):
        raise SandboxUnavailable("no bubblewrap")

    monkeypatch.setattr(nc_gym.train.TerminalSubject, "record_boots", missing)
    with pytest.raises(SandboxUnavailable):
        nc_gym.train.train(traces, 60, tmp_path / "run", 0, None, "cpu", config=CONFIG)
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


def test_shards_of_a_start_that_was_killed_are_not_trained_on(traces, tmp_path):
    partial = tmp_path / "run" / "shards-partial"
    partial.mkdir(parents=True)
    (partial / "shard-00099.npz").write_text("from other traces")
    nc_gym.train.train(traces, 0, tmp_path / "run", 0, None, "cpu", config=CONFIG)
    assert not (tmp_path / "run" / "shards" / "shard-00099.npz").exists()


def nc_gym_train(*arguments):
    command = [str(Path(sys.executable).with_name("nc-gym")), "train", "terminal", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, env={**os.environ, "TERM": "dumb"})


def test_the_command_without_traces_is_one_clear_sentence(tmp_path):
    done = nc_gym_train("--traces", tmp_path / "none", "--minutes", 1, "--out", tmp_path / "run")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("nc-gym: ") and str(tmp_path / "none") in last and "nc-gym collect" in last


@pytest.mark.slow
def test_the_command_trains_the_shipped_network(traces, tmp_path):
    out = tmp_path / "run"
    done = nc_gym_train("--traces", traces, "--minutes", 0, "--out", out, "--device", "cpu", "--threads", 1)
    assert done.returncode == 0, done.stderr
    assert "weights written to" in done.stdout
    assert (out / "weights" / "model.safetensors").stat().st_size < 25e6
