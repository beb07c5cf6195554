"""Suites and methods of a user's own file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.cli import main
from benchmarks.suites.catalogue import get_suite
from benchmarks.suites.methods.methods import method_of
from benchmarks.suites.spec import Arm
from benchmarks.suites.storage.store import Store

NAME = "own_suite_file"
METHODS = ("worth-0.5", "worth-1.0")
SOURCE = """
from dataclasses import replace
from agents import FixedBidder
from benchmarks.suites.methods.fitting import Fitted
from benchmarks.suites.spec import Arm, MarketData, Seeds, Suite, Variant

def fit(setting):
    return Fitted(bidders={task: FixedBidder(float(setting.option("ratio"))) for task in setting.targets})

DATA = MarketData(
    tasks=("MaxConversions",), n_train=(2,), n_validation=1, n_impressions=480, policy="random=1", log_seed=5
)
ARMS = tuple(
    Arm(name=f"worth-{x}", label=x, method=f"{__name__}:fit", settings=(f"ratio={x}",), is_trained=False)
    for x in ("0.5", "1.0")
)
SUITE = Suite(
    id="own/v1", size="testing", title="own", question="own?", arms=ARMS, train_seeds=(1,),
    variants=(Variant(name="market", label="market", data=DATA),),
    validation=Seeds(first=100, n=1), test=Seeds(first=200, n=2),
)

def make(size):
    return replace(SUITE, size=size)

def broken(size):
    return 3
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(sys, "path", [*sys.path])
    path = tmp_path / f"{NAME}.py"
    path.write_text(SOURCE)
    yield path
    sys.modules.pop(NAME, None)


def test_a_suite_of_a_file_runs_with_methods_of_the_file(file: Path, tmp_path: Path) -> None:
    main(["bench", "run", f"{file}:SUITE", "--workers", "1", "--out", str(tmp_path / "out")])
    rows = Store(tmp_path / "out").rows().to_pylist()
    scores = {name: [row["score_expected"] for row in rows if row["method"] == name] for name in METHODS}
    assert [len(own) for own in scores.values()] == [2, 2] and len(rows) == 4
    assert sum(scores["worth-0.5"]) < sum(scores["worth-1.0"])  # a bid of half the worth wins less


def test_a_function_makes_the_size_that_is_asked_for(file: Path) -> None:
    assert get_suite(f"{file}:make", "cpu").size == "cpu"
    assert get_suite(f"{file}:make").size == "full"
    assert get_suite(f"{file}:SUITE").size == get_suite(f"{file}:SUITE", "testing").size == "testing"
    with pytest.raises(ValueError, match=r"`--size` must be 'testing', .* found 'cpu': leave it out"):
        get_suite(f"{file}:SUITE", "cpu")


@pytest.mark.parametrize(
    ("attribute", "text"),
    [
        ("NOTHING", r"must name a .*Suite.* found None; suites of the file: \['SUITE'\]"),
        ("DATA", "must name a"),
        ("broken", "found 3"),
        ("", "found None"),
    ],
)
def test_what_is_no_suite_is_refused(file: Path, attribute: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        get_suite(f"{file}:{attribute}")


def test_a_file_that_cannot_be_read_is_named(file: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="in a file that exists"):
        get_suite(f"{tmp_path}/gone.py:SUITE")
    (tmp_path / "wrong_suite_file.py").write_text("1 / 0")
    with pytest.raises(ValueError, match="must import, found ZeroDivisionError"):
        get_suite(f"{tmp_path}/wrong_suite_file.py:SUITE")
    (tmp_path / "json.py").write_text(SOURCE)
    with pytest.raises(ValueError, match=r"must have a name of its own, found 'json.py'"):
        get_suite(f"{tmp_path}/json.py:SUITE")
    (tmp_path / "my-suite.py").write_text(SOURCE)
    with pytest.raises(ValueError, match=r"a name that Python can import, found 'my-suite.py'"):
        get_suite(f"{tmp_path}/my-suite.py:SUITE")


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ("nothing", r"must be one of .*'vamo'.* or 'module:function', found 'nothing'"),
        ("gone_module:fit", "'gone_module:fit' must load"),
        ("json:gone", "'json:gone' must load"),
        ("math:pi", "must name a function"),
    ],
)
def test_a_wrong_method_is_named(method: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        method_of(Arm(name="own", label="own", method=method))
