"""Names that are imported at their first use: all are found, and importing a package takes nothing that is not used."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

PACKAGES = ("auction_env", "agents", "vamo", "benchmarks")


@pytest.mark.parametrize("package", PACKAGES)
def test_all_names_are_found(package: str) -> None:
    module = importlib.import_module(package)
    for name in module.__all__:
        assert getattr(module, name) is not None, name
        place = Path(module.__file__ or "").parent / name
        is_module = place.is_dir() or place.with_suffix(".py").is_file()
        assert isinstance(getattr(module, name), ModuleType) == is_module, f"{name} is also a module of {package}"
    assert set(module.__all__) <= set(dir(module))


@pytest.mark.parametrize("package", PACKAGES)
def test_an_unknown_name_is_none_of_theirs(package: str) -> None:
    module = importlib.import_module(package)
    with pytest.raises(AttributeError, match=rf"module '{package}' has no attribute 'nothing'"):
        _ = module.nothing


def test_importing_loads_neither_numba_nor_torch() -> None:
    code = f"import os, sys, {', '.join(PACKAGES)}, benchmarks.cli\n"
    code += "print(sorted({'numba', 'torch', 'pyarrow', 'scipy'} & set(sys.modules)), os.environ['GOMP_SPINCOUNT'])"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GOMP_", "OMP_"))}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout == "[] 10000\n"
