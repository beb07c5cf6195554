"""The distribution: what the wheel holds, its version, and what the light installation can do."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

import auction_env

ROOT = Path(__file__).parents[1]
PACKAGES = {"auction_env", "agents", "vamo", "benchmarks"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this checkout, built with the installed backend: nothing is downloaded."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = folder.glob("*.whl")
    return path


RESULTS = ROOT / "benchmarks" / "results"
"""For readers of the repository."""


def read(wheel: Path, name: str) -> str:
    """A file of the wheel's dist-info folder."""
    with zipfile.ZipFile(wheel) as archive:
        (member,) = (n for n in archive.namelist() if n.endswith(f".dist-info/{name}"))
        return archive.read(member).decode()


def test_wheel_holds_the_four_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {n.split("/")[0] for n in names if ".dist-info/" not in n} == PACKAGES
    sources = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and RESULTS not in path.parents
    }
    assert {n for n in names if ".dist-info/" not in n} == sources, "data files belong in the wheel too"
    assert {f"{package}/py.typed" for package in PACKAGES} <= names


def test_version_is_that_of_the_market_package(wheel: Path) -> None:
    metadata = HeaderParser().parsestr(read(wheel, "METADATA"))
    assert metadata["Version"] == auction_env.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|(a|b|rc)\d+)?", auction_env.__version__)
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f'version: "{auction_env.__version__}"' in citation


def test_console_command(wheel: Path) -> None:
    entry_points = configparser.ConfigParser()
    entry_points.read_string(read(wheel, "entry_points.txt"))
    assert dict(entry_points["console_scripts"]) == {"vamo": "benchmarks.cli:main"}


def test_core_dependencies_leave_torch_out(wheel: Path) -> None:
    metadata = HeaderParser().parsestr(read(wheel, "METADATA"))
    core = [r for r in metadata.get_all("Requires-Dist", []) if "extra ==" not in r]
    assert {re.split(r"[^\w-]", r)[0] for r in core} == {
        "gymnasium",
        "numba",
        "numpy",
        "pyarrow",
        "rich",
        "scipy",
    }


@pytest.mark.parametrize("statement", ["import auction_env, agents, vamo", "import benchmarks.cli"])
def test_light_installation_imports(statement: str) -> None:
    """Without the extras the market, the rule-based bidders and the command line must still import."""
    blocked = ("matplotlib", "pandas", "plotly", "safetensors", "stable_baselines3", "torch")
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked!r})); {statement}"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    ("changed", "cited", "message"),
    [
        ("Unreleased", "1.2.3", "the first entry of CHANGELOG.md must be of version 1.2.3, found 'Unreleased'"),
        ("1.2.3", "1.2.2", "CITATION.cff must name version 1.2.3, found '1.2.2'"),
    ],
)
def test_a_release_has_one_version(tmp_path: Path, changed: str, cited: str, message: str) -> None:
    """The rest of `make release`, which needs a network, starts after this."""
    (tmp_path / ".ci").mkdir()
    script = shutil.copy(ROOT / ".ci" / "release", tmp_path / ".ci")
    (tmp_path / "auction_env").mkdir()
    (tmp_path / "auction_env" / "version.py").write_text('__version__ = "1.2.3"\n', encoding="utf-8")
    (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n## [{changed}]\n\n## [1.0.0]\n", encoding="utf-8")
    (tmp_path / "CITATION.cff").write_text(f'cff-version: 1.2.0\nversion: "{cited}"\n', encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [script, sys.executable, sys.executable]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 1 and message in run.stderr
    assert not (tmp_path / "dist").exists()


def requirements() -> dict[str, str]:
    """Every direct requirement of pyproject.toml: name -> lower bound."""
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    return dict(line.split(">=") for lines in groups for line in lines if ">=" in line)


def test_lock_pins_every_requirement_at_or_above_its_lower_bound() -> None:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    pins = {normalise(name): version for name, version in pins.items()}
    assert not [version for version in pins.values() if "+" in version], "a local version is on no index"
    for name, bound in requirements().items():
        assert release(pins[normalise(name)]) >= release(bound), f"{name}: lock is below {bound}"


def normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
