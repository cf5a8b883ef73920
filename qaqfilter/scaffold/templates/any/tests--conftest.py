"""No test reads or writes the score store of whoever runs it."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QAQFILTER_CACHE", str(tmp_path / "cache"))
