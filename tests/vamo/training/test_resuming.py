"""A run that is killed by SIGKILL, at any step or while it writes, goes on to the same numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agents.learning.checkpoint import CheckpointError, read, write
from tests import processes
from tests.vamo.synthetic import make_data
from tests.vamo.training.test_trainer import comparable
from vamo.config import Config, override
from vamo.examples.sources import split
from vamo.training.train import train

ROOT = Path(__file__).parents[3]

VARIANTS = {
    "running": "weighting.per_episode=true weighting.decay=0.9 weighting.ema_decay=0.5 train.ema_decay=0.7 "
    "train.patience=7 train.select=best",
    "in turns": "weighting.pairs_per_step=3 weighting.targets_per_refresh=1 weighting.shrinkage=true train.select=last",
    "ensemble": "train.ensemble=2 train.select=best",
    "preconditioned": "weighting.precondition=true train.ema_decay=0.7 train.select=last",
}


# kills in every n-th step; `test_trainer` stops and resumes more variants within one process
THOROUGH = [("running", 1), ("in turns", 4), ("ensemble", 5), ("preconditioned", 4)]
STRIDES = [("running", 5), *[pytest.param(*of, marks=pytest.mark.exhaustive) for of in THOROUGH]]

# Forks: a process that ends by SIGKILL for every step, and one that goes on after it.
SCRIPT = """
import dataclasses, hashlib, json, os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from tests.vamo.synthetic import make_data
from vamo.config import Config, override
from vamo.examples.sources import split
from vamo.training.loop import Trainer
from vamo.training.train import train

out, assignments = Path(sys.argv[1]), sys.argv[2].split()
small = ["data.action_label=logged", "model.backbone=transformer", "model.conditioning=film",
         "model.d_model=16", "model.n_heads=2", "model.n_blocks=1", "model.context=4", "train.batch_size=16",
         "train.steps=14", "train.log_every=2", "train.warmup_steps=2", "train.evaluation_windows=8",
         "weighting.refresh_every=2", "weighting.alignment_batch_size=36"]
config = override(Config(), [*small, *assignments])
data = split({"TargetCPA": make_data(10), "Other": make_data(10, seed=1)}, 0.25)
real_step, real_replace = Trainer.step, os.replace

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def run(path, kill_in_step=None, kill_in_write=None):
    writes = []
    def step(trainer):
        if trainer.n_steps == kill_in_step:
            kill()
        return real_step(trainer)
    def replace(*names):
        writes.append(names)
        if len(writes) == kill_in_write:
            kill()
        return real_replace(*names)
    Trainer.step, os.replace = step, replace
    result = train(*data, config, out=path, save_every=3)
    digest = hashlib.sha256()
    for name, parameter in result.bidder.model.named_parameters():
        digest.update(name.encode() + parameter.detach().numpy().tobytes())
    lines = [dataclasses.asdict(dataclasses.replace(line, step_time=0.0)) for line in result.history]
    return {"parameters": digest.hexdigest(), "history": lines, "best_loss": result.best_loss}

def forked(work):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(read)
            with os.fdopen(write, "w") as pipe:
                pipe.write(json.dumps(work()))
            os._exit(0)
        finally:
            os._exit(1)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    return os.waitpid(child, 0)[1], text

def resumed(name, **kills):
    path = out / f"{name}.safetensors"
    status, _ = forked(lambda: run(path, **kills))
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status
    status, text = forked(lambda: run(path))
    assert status == 0, status
    return json.loads(text)

status, text = forked(lambda: run(out / "whole.safetensors"))
found = {"whole": json.loads(text)}
for n in range(0, 14, int(sys.argv[3])):
    found[f"step {n}"] = resumed(f"step {n}", kill_in_step=n)
for n in (1, 3, 6):
    found[f"write {n}"] = resumed(f"write {n}", kill_in_write=n)
print(json.dumps(found))
"""


@pytest.mark.parametrize(("variant", "stride"), STRIDES)
def test_killed_at_any_step_the_run_goes_on_to_the_same_numbers(tmp_path: Path, variant: str, stride: int) -> None:
    arguments = (str(tmp_path), VARIANTS[variant], str(stride))
    done = processes.run(SCRIPT, *arguments, folder=ROOT, work=tmp_path / "process")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) == 1 + len(range(0, 14, stride)) + 3
    assert len(found["whole"]["history"]) == 7
    for name, result in found.items():
        assert result == found["whole"], name


def test_a_run_that_stopped_early_stays_stopped(small_config: Config, tmp_path: Path) -> None:
    config = override(
        small_config, ["train.learning_rate=1.0", "train.log_every=1", "train.steps=60", "train.patience=2"]
    )
    data = split({"TargetCPA": make_data(12)}, 0.25)
    path = tmp_path / "agent.safetensors"
    kept: list[bytes] = []

    def keep(step: int, n_steps: int, record: object) -> None:
        kept[:] = [path.with_name("agent.safetensors.run").read_bytes()]

    first = train(*data, config, out=path, save_every=1, progress=keep)
    assert first.history[-1].step < 60
    path.with_name("agent.safetensors.run").write_bytes(kept[0])  # killed before the state was removed
    again = train(*data, config, out=path)
    assert comparable(list(again.history)) == comparable(list(first.history))


def test_state_that_is_not_whole_is_an_error(small_config: Config, tmp_path: Path) -> None:
    data = split({"TargetCPA": make_data(12)}, 0.25)
    path, state = tmp_path / "agent.safetensors", tmp_path / "agent.safetensors.run"

    def stop(step: int, n_steps: int, record: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(*data, small_config, out=path, save_every=1, progress=stop)
    tensors, record = read(state, "run")
    del tensors["member 0/parameters/head.weight"]
    write(state, "run", tensors, record)
    with pytest.raises(CheckpointError, match=r"must hold a whole run, found KeyError\('parameters/head.weight'\)"):
        train(*data, small_config, out=path)
