"""pytest's plugin of qaqfilter: fixtures for authors of plugins.

tiny_records       a few records, with all that is odd in real data
reference_backend  a real model, embedded and small, opened once for all tests
run_recipe         writes a recipe, runs it, and hands back what came of it

pytest imports this file in every run of everybody who has qaqfilter installed: so it stands beside
the package, not in it, and imports nothing of it before a fixture is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from qaqfilter import Backend, Record, RunReport

# Their failed checks are told with the values on both sides, as those of a test file.
pytest.register_assert_rewrite("qaqfilter.testing")


@dataclass(frozen=True, slots=True)
class RecipeRun:
    """What came of a recipe.

    Attributes
    ----------
    report: the account of the run.
    kept: the fields of each kept record, in order.
    rejected: of each rejected one its id, step, reason, value and bound, and its fields: `record`.
    folder: the run directory.
    """

    report: RunReport
    kept: list[dict[str, Any]]
    rejected: list[dict[str, Any]]
    folder: Path


_DEFAULTS: Mapping[str, Any] = {
    "version": 1,
    "name": "tried",
    "input": {"use": "jsonl", "path": "data.jsonl"},
    "output": {"use": "jsonl", "path": "out", "pages": []},
}


@pytest.fixture
def tiny_records() -> list[Record]:
    """A few records: plain, without a side, blank, odd letters, markup as data, long, a copy."""
    from qaqfilter.testing import tiny_records

    return tiny_records()


@pytest.fixture(scope="session")
def reference_backend() -> Iterator[Backend]:
    """The embedded model `builtin:weak`, computed by the backend `reference`; do not close it."""
    from qaqfilter.manager import load_plugins
    from qaqfilter.testing import HereResources

    component = load_plugins().require("backend", "reference")
    config = component.config.model_validate({"model": "builtin:weak"})
    backend: Backend = component.create(config, HereResources())
    yield backend
    backend.close()


@pytest.fixture
def run_recipe(tmp_path: Path) -> Callable[..., RecipeRun]:
    """Run a recipe in the test's own folder: ``run_recipe(recipe, records, plugins=())``.

    `recipe` is a dict or YAML text; `version`, `name`, `input` and `output` may be left out, and
    are then `records` as JSON lines, in and out. `records` are records or dicts, else
    `tiny_records`. `plugins` are files, as for ``--plugin``. Scores are not stored.
    """
    count = 0

    def run(
        recipe: Mapping[str, Any] | str,
        records: Sequence[Record | Mapping[str, Any]] | None = None,
        *,
        plugins: Sequence[str | Path] = (),
    ) -> RecipeRun:
        nonlocal count
        count += 1
        folder = tmp_path / f"recipe-{count}"
        folder.mkdir()
        return _run(folder, recipe, records, plugins)

    return run


def _run(
    folder: Path,
    recipe: Mapping[str, Any] | str,
    records: Sequence[Record | Mapping[str, Any]] | None,
    plugins: Sequence[str | Path],
) -> RecipeRun:
    import qaqfilter
    from qaqfilter.testing import tiny_records

    given = tiny_records() if records is None else records
    rows = [r.row if isinstance(r, qaqfilter.Record) else _line(r) for r in given]
    (folder / "data.jsonl").write_bytes(b"".join(rows))
    path = folder / "recipe.yaml"
    path.write_text(_written(recipe), encoding="utf-8")
    files = [Path(plugin) for plugin in plugins]
    report = qaqfilter.run(path, plugins=files, overrides=["run.store=false"])
    where = Path(str(report.folder))
    return RecipeRun(report, _lines(where / "kept.jsonl"), _lines(where / "rejected.jsonl"), where)


def _written(recipe: Mapping[str, Any] | str) -> str:
    """YAML, with what was left out at the end: so that lines in messages are those of the test."""
    import json

    from qaqfilter.yamlfile import parse_yaml

    text = recipe if isinstance(recipe, str) else ""
    asked = parse_yaml(text, "run_recipe").data if isinstance(recipe, str) else dict(recipe)
    left_out = {key: value for key, value in _DEFAULTS.items() if key not in asked}
    further = left_out if isinstance(recipe, str) else asked | left_out
    lines = [f"{key}: {json.dumps(value)}\n" for key, value in further.items()]  # YAML, too
    return "".join([text, "\n", *lines] if text else lines)


def _line(fields: Mapping[str, Any]) -> bytes:
    import json

    return json.dumps(dict(fields)).encode() + b"\n"


def _lines(path: Path) -> list[dict[str, Any]]:
    import json

    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_bytes().splitlines()]
