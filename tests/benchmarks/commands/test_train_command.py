"""`vamo train`: from data sets on disk to a checkpoint that loads, in one process and in two; bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import vamo
from agents.families.family import make_task_family
from agents.families.storage import collect_family
from agents.learning import progress
from auction_env import TASKS, data
from benchmarks.cli import main
from benchmarks.commands import train as training
from tests import processes
from tests.vamo.synthetic import make_data
from tests.vamo.training.test_distributed import free_port
from vamo.config import Config
from vamo.training.history import Record
from vamo.training.train import VamoLearner

load = VamoLearner("vamo").load

ROOT = Path(__file__).parents[3]
TINY = {
    "model": {
        "backbone": "transformer",
        "conditioning": "film",
        "d_model": 16,
        "n_blocks": 1,
        "n_heads": 2,
        "context": 4,
    },
    "weighting": {"validation_batch_size": 8, "alignment_batch_size": 16},
    "train": {"steps": 8, "batch_size": 16, "warmup_steps": 2, "log_every": 4, "evaluation_windows": 8},
}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two split data sets, and one that is not split."""
    root = tmp_path_factory.mktemp("sets")
    for i, name in enumerate(("MaxConversions", "TargetCPA", "Unsplit")):
        data.write(root / name, make_data(20, task=TASKS[name if i < 2 else "TargetCPA"], seed=i))
        if i < 2:
            data.write_splits(root / name, validation=5, test=1)
    return {path.name: path for path in root.iterdir()}


@pytest.fixture
def arguments(sets: dict[str, Path], tmp_path: Path) -> list[str]:
    config = tmp_path / "tiny.json"
    config.write_text(json.dumps(TINY))
    out = tmp_path / "models" / "agent.safetensors"
    directories = ["--data", str(sets["MaxConversions"]), "--data", str(sets["TargetCPA"])]
    return ["train", *directories, "--out", str(out), "--settings", str(config)]


def fails(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("vamo: error: ") and error.count("\n") == 1
    return error


def test_a_checkpoint_a_table_and_scalars(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([*arguments, "--set", "train.seed=5", "--set", "train.method=uniform", "--log-dir", str(tmp_path / "log")])
    bidder = load(tmp_path / "models" / "agent.safetensors")
    given = ["train.seed=5", "train.method=uniform", "data.dagger_rounds=1"]  # the last as the settings leave it open
    assert bidder.config == vamo.override(Config.from_dict(TINY), given)
    assert {table.task.name for table in bidder.returns} == {"MaxConversions", "TargetCPA"}
    shown = capsys.readouterr().out
    assert "8/8" in shown and "steps/s" in shown and "effective sources 2" in shown
    for text in ("Validation losses", "0.50 MaxConversions", "0.50 TargetCPA", "after step", "trained agent:"):
        assert text in shown, shown
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["agent.safetensors"]
    assert len(list((tmp_path / "log").iterdir())) == 1


def test_targets_and_toml(arguments: list[str], tmp_path: Path) -> None:
    config = tmp_path / "tiny.toml"
    model = "[model]\nbackbone = 'transformer'\nd_model = 16\nn_blocks = 1\nn_heads = 2\n"
    config.write_text(f"[train]\nsteps = 4\nbatch_size = 16\n{model}")
    main([*arguments[:-1], str(config), "--task", "TargetCPA"])
    bidder = load(tmp_path / "models" / "agent.safetensors")
    assert bidder.config.train.steps == 4
    assert [table.task.name for table in bidder.returns] == ["TargetCPA"]


def test_a_family_is_all_its_members(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    family = make_task_family(3, n_impressions=960, imbalance=(20, 8))
    collect_family(family, tmp_path / "logs", n_validation=3, n_test=2)
    sources, validation = training.read_logs([tmp_path / "logs"], needs_validation=True)
    assert tuple(sources) == tuple(validation) == family.names
    assert [log.n_episodes for log in sources.values()] == [member.n_trajectories for member in family.members]
    assert {log.n_episodes for log in validation.values()} == {3}
    config = tmp_path / "tiny.json"
    config.write_text(json.dumps(TINY))
    main(["train", "--data", str(tmp_path / "logs"), "--out", str(tmp_path / "agent"), "--settings", str(config)])
    tables = load(tmp_path / "agent").returns
    assert tuple(table.task.name for table in tables) == family.names


def test_killed_it_goes_on(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "models" / "agent.safetensors"
    main(arguments)
    whole = load(out)
    out.unlink()

    def stop(record: Record) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(progress, "words", stop)
        with pytest.raises(SystemExit) as caught:
            main([*arguments, "--save-every", "3"])
        assert caught.value.code == 130
    assert [path.name for path in out.parent.iterdir()] == ["agent.safetensors.run"]
    steps: list[int] = []
    monkeypatch.setattr(progress, "words", lambda record: steps.append(record.step) or "")
    main([*arguments, "--save-every", "3"])
    assert steps == [4, 8]  # from step 3
    for name, value in load(out).model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), whole.model.state_dict()[name].numpy())
    assert [path.name for path in out.parent.iterdir()] == ["agent.safetensors"]


def test_nothing_is_overwritten_without_force(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "models" / "agent.safetensors"
    out.parent.mkdir()
    out.write_bytes(b"precious")
    assert "must not exist, found a finished agent" in fails(arguments, capsys)
    assert out.read_bytes() == b"precious"
    main([*arguments, "--force"])
    assert load(out).name == "vao"


def test_bad_input(
    arguments: list[str],
    sets: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unsplit = sets["Unsplit"]
    expected = f"{unsplit} must be split into training and validation: vamo data split {unsplit}"
    assert expected in fails([*arguments, "--data", str(unsplit)], capsys)
    twice = fails([*arguments, "--data", str(sets["TargetCPA"])], capsys)
    assert "task 'TargetCPA' must be in one data set, found it in" in twice
    assert "must be a trajectory data set" in fails([*arguments, "--data", str(tmp_path)], capsys)
    assert "found ['Clicks']" in fails([*arguments, "--task", "Clicks"], capsys)
    unknown = fails([*arguments, "--set", "train.stepz=3"], capsys)
    assert "`train.stepz` is no setting; the nearest is `train.steps`" in unknown
    assert "must be positive" in fails([*arguments, "--set", "train.learning_rate=-1"], capsys)
    assert "must be a .toml or a .json file" in fails([*arguments, "--settings", str(tmp_path / "x.yaml")], capsys)
    (tmp_path / "broken.toml").write_text("[train\n")
    assert "broken.toml must be a TOML file" in fails([*arguments, "--settings", str(tmp_path / "broken.toml")], capsys)
    (tmp_path / "unknown.json").write_text('{"trian": {}}')
    assert "the nearest is `train`" in fails([*arguments, "--settings", str(tmp_path / "unknown.json")], capsys)
    assert "`--advertiser` must not be given" in fails([*arguments, "--advertiser", "1"], capsys)
    market = ["train", "--agent", "ppo", "--task", "TargetCPA", "--out", str(tmp_path / "x")]
    assert "`--data` must not be given" in fails([*market, "--data", str(unsplit)], capsys)
    assert "has nothing to learn" in fails(["train", "--agent", "pid", "--out", str(tmp_path / "x")], capsys)
    assert "`--data` must be given" in fails(["train", "--agent", "bc", "--out", str(tmp_path / "x")], capsys)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert "must find a GPU" in fails([*arguments, "--device", "cuda"], capsys)
    assert not (tmp_path / "models" / "agent.safetensors").exists()


def by_torchrun(arguments: list[str], tmp_path: Path) -> str:
    """What torchrun prints."""
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [*run, "-m", "benchmarks.cli", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def by_forks(arguments: list[str], tmp_path: Path) -> str:
    """The same two processes with the variables that torchrun sets, without three new interpreters."""
    code = "import sys\nfrom benchmarks.cli import main\nmain(sys.argv[1:])"
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    runs = []
    for rank in ("0", "1"):
        variables = shared | {"RANK": rank, "LOCAL_RANK": rank}
        runs.append(processes.Run(code, *arguments, folder=ROOT, work=tmp_path / rank, variables=variables))
    finished = [run.finish() for run in runs]
    assert [done.returncode for done in finished] == [0, 0], finished[0].stderr
    return "".join(done.stdout for done in finished)


@pytest.mark.parametrize("launch", [by_forks, pytest.param(by_torchrun, marks=pytest.mark.exhaustive)])
def test_two_processes(arguments: list[str], tmp_path: Path, launch: Callable[[list[str], Path], str]) -> None:
    """One bar, one checkpoint; the same as that of one process to float tolerance."""
    out = tmp_path / "models" / "agent.safetensors"
    main(arguments)
    alone = load(out)
    out.unlink()
    assert launch(arguments, tmp_path).count("trained agent:") == 1
    for name, value in load(out).model.state_dict().items():
        np.testing.assert_allclose(value.numpy(), alone.model.state_dict()[name].numpy(), rtol=1e-3, atol=1e-5)


def test_help_says_what_each_agent_learns_from(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "From logs (--data): bc, td3_bc, iql, cql, bcq, mopo" in shown
    assert "In a market (--task): oil, ppo, sac, td3, recurrent_ppo, tqc." in shown
