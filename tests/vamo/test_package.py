from __future__ import annotations

import subprocess
import sys

import pytest

import vamo


def test_import_is_light() -> None:
    code = "import sys, vamo; dir(vamo); vamo.Config(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_export_exists() -> None:
    for name in vamo.__all__:
        assert getattr(vamo, name) is not None
        assert name in dir(vamo)
    with pytest.raises(AttributeError, match="module 'vamo' has no attribute 'nothing'"):
        vamo.nothing  # noqa: B018 (the access is the test)
