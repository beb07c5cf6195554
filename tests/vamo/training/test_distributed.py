"""Several processes on the CPU (gloo): the same run as in one, and no waiting for a process that failed."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tests import processes
from tests.vamo.training.test_trainer import quadratic_trainer
from vamo.training.distributed import ProcessError, Processes, joined

ROOT = Path(__file__).parents[3]

VARIANTS = {
    "preconditioned, averaged": "train.ema_decay=0.5 weighting.precondition=true",
    "cosine, shrunken": "weighting.scaling=cosine weighting.shrinkage=true weighting.ema_decay=0.5",
    "a weight a sample": "weighting.kind=softmax weighting.shrinkage=false weighting.per_sample=true "
    "weighting.candidates=all weighting.refresh_every=1",
    "in turns": "weighting.pairs_per_step=4 weighting.targets_per_refresh=1 weighting.estimator=forward_mode",
    "integral": "weighting.kind=integral weighting.eta=0.5 weighting.floor=0.1",
    "uniform": "train.method=uniform",
}

# What every process runs: trains on the synthetic family and writes what it found to OUT/VARIANT-RANK.npz.
SCRIPT = """
import json, os, sys, time
from pathlib import Path
import numpy as np
import torch
torch.set_num_threads(1)
from tests.vamo.synthetic import make_data
from vamo.config import Config, override
from vamo.training.distributed import joined
from vamo.training.train import train
from vamo.training.loop import Trainer

out, fault, variants = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
names = [f"task {i}" for i in range(3)]
data = {name: make_data(8 + 4 * i, seed=i) for i, name in enumerate(names)}
held_out = {name: make_data(4, seed=20 + i) for i, name in enumerate(names)}
small = ["data.action_label=logged", "model.backbone=transformer", "model.conditioning=film",
         "model.d_model=16", "model.n_heads=2", "model.n_blocks=1", "model.context=4", "train.batch_size=27",
         "train.steps=12", "train.log_every=4", "train.warmup_steps=2", "train.evaluation_windows=8",
         "weighting.refresh_every=2", "weighting.alignment_batch_size=36"]
step = Trainer.step
with joined(timeout=10.0) as processes:
    def faulty(trainer):
        if processes.rank == 1 and trainer.n_steps == 5:
            if fault == "fails":
                raise OSError("disk full")
            if fault == "hangs":
                time.sleep(25)
        return step(trainer)
    Trainer.step = faulty
    if fault == "other data" and processes.rank == 1:
        data = {name: make_data(8, seed=5) for name in names}
    for label, assignments in variants.items():
        told = []
        result = train(data, held_out, override(Config(), [*small, *assignments.split()]), processes=processes,
                       progress=lambda step, n_steps, record: told.append(step), save_every=5,
                       out=Path(f"{out}/{label}.safetensors"), log_dir=f"{out}/log {label}")
        last = result.history[-1]
        parameters = {f"p/{name}": p.detach().numpy() for name, p in result.bidder.model.named_parameters()}
        alignment = [] if last.alignment is None else last.alignment
        np.savez(f"{out}/{label}-{processes.rank}.npz", told=told, weights=[r.weights for r in result.history],
                 loss=[r.loss for r in result.history], validation=[r.validation_loss for r in result.history],
                 grad_norm=[r.grad_norm_max for r in result.history], alignment=alignment, **parameters)
"""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def spawn(size: int, out: Path, fault: str = "") -> list[subprocess.CompletedProcess[str]]:
    """Runs the script in `size` processes, as torchrun would; one process runs without its variables."""
    out.mkdir()
    port, runs = free_port(), []
    for rank in range(size):
        variables: dict[str, object] = {}
        if size > 1:
            variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_PORT": port}
            variables |= {"MASTER_ADDR": "127.0.0.1"}
        given = {name: str(value) for name, value in variables.items()}
        arguments, work = (str(out), fault, json.dumps(VARIANTS)), out / f"process {rank}"
        runs.append(processes.Run(SCRIPT, *arguments, folder=ROOT, work=work, variables=given))
    try:
        return [run.finish(120) for run in runs]
    finally:
        for run in runs:
            run.kill()


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process, and two, wrote."""
    out = tmp_path_factory.mktemp("runs")
    for size in (1, 2):
        for process in spawn(size, out / str(size)):
            assert process.returncode == 0, process.stderr
    return out


def load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)


@pytest.mark.parametrize("label", VARIANTS)
def test_two_processes_give_the_run_of_one(out: Path, label: str) -> None:
    """9 pairs and 3 targets do not divide by 2: the shares differ."""
    expected = load(out / "1" / f"{label}-0.npz")
    first, second = (load(out / "2" / f"{label}-{rank}.npz") for rank in (0, 1))
    assert expected["told"].tolist() == first["told"].tolist() == [4, 8, 12]
    assert second["told"].tolist() == []
    for name, value in expected.items():
        if name != "told":
            scale = np.abs(value).max(initial=1e-3)
            np.testing.assert_allclose(first[name] / scale, value / scale, atol=2e-5, err_msg=name)
            np.testing.assert_array_equal(second[name], first[name], err_msg=name)
    assert len(list((out / "2" / f"log {label}").iterdir())) == 1  # of the first process
    assert np.ptp(first["weights"]) > 0.01 or label == "uniform"  # there was something to agree on


@pytest.mark.parametrize(
    ("fault", "at_fault", "of_the_other"),
    [
        ("fails", "disk full", "process 0 found another one failed, gone or hanging"),
        pytest.param(
            *("hangs", "", "must take part in every step within 10 s: process 0 found another"),
            marks=pytest.mark.exhaustive,  # 25 s of waiting; a process that never comes is found in one below
        ),
        ("other data", "must be the same in all 2 processes", "must be the same in all 2 processes"),
    ],
)
def test_a_process_that_fails_stops_the_others(tmp_path: Path, fault: str, at_fault: str, of_the_other: str) -> None:
    start = time.monotonic()
    first, second = spawn(2, tmp_path / "two", fault)
    assert time.monotonic() - start < 110
    assert first.returncode != 0 and second.returncode != 0
    assert of_the_other in first.stderr
    assert at_fault in second.stderr
    assert not list((tmp_path / "two").glob("*.npz"))


def test_shares_are_whole_and_even() -> None:
    for size in (1, 2, 3, 8):
        for n in (8, 9, 17):
            shares = [range(n)[Processes(rank, size).share(n)] for rank in range(size)]
            assert [i for share in shares for i in share] == list(range(n))
            assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_alone_nothing_is_exchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with joined() as processes:
        assert processes == Processes() and processes.is_first
        tensor = torch.ones(2)
        processes.sum([tensor])
        processes.wait()
        processes.check_equal("data", "text")
        assert tensor.tolist() == [1.0, 1.0]


def test_a_gpu_for_every_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with (
        pytest.raises(ValueError, match="`device` 'cuda' must find a GPU for process 1 of this machine, found 1"),
        joined("cuda"),
    ):
        pass


def test_processes_that_do_not_come_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of two never starts."""
    variables = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    for name, value in (variables | {"MASTER_PORT": str(free_port())}).items():
        monkeypatch.setenv(name, value)
    message = r"all 2 processes must come together at 127.0.0.1:\d+ within 1 s, process 0 found not all"
    with pytest.raises(ProcessError, match=message), joined(timeout=1.0):
        pass


def test_too_many_processes() -> None:
    with pytest.raises(ValueError, match=r"must be at most that of the pairs in a step, 6, .* found 7"):
        quadratic_trainer(processes=Processes(0, 7))
    with pytest.raises(ValueError, match=r"must be at most that of the pairs in a step, 4, .* found 5"):
        quadratic_trainer("weighting.pairs_per_step=5", processes=Processes(0, 5))
    with pytest.raises(ValueError, match="method 'pcgrad' must train in one process, found 2"):
        quadratic_trainer("train.method=pcgrad", processes=Processes(0, 2))
