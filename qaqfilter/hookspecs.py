"""Start here: every hook that a plugin can implement, each with a complete plugin.

Eleven hooks yield components, three only watch a run. A plugin is a module (or object) with
functions that carry `hookimpl` and one of these names: an entry point in ``qaqfilter``, or a file.

Hook functions take the arguments listed here, by name, without defaults; they may leave some out.
Those that yield components are called once, when plugins are loaded, so they must be quick: import
heavy packages inside `create`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import pluggy

from qaqfilter.damages import Damage
from qaqfilter.execution import Executor
from qaqfilter.model_files import Locator
from qaqfilter.pages import Page
from qaqfilter.protocols import Backend, Component, PromptFormat, Source
from qaqfilter.reports import RunReport
from qaqfilter.selectors import Selector
from qaqfilter.sinks import Sink
from qaqfilter.table import Table
from qaqfilter.types import Decisions

if TYPE_CHECKING:
    import click

PROJECT = "qaqfilter"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function as the implementation of the hook whose name it bears."""


class Specs:
    """The hooks."""

    @hookspec
    def qaqfilter_sources(self) -> Iterable[Component[Source]]:  # type: ignore[empty-body]
        """Where records come from: ``input: {use: <name>}``; `create(config) -> Source`::

        from pathlib import Path
        from qaqfilter import Component, Options, Origin, Record, RecipePath, hookimpl

        class LinesOptions(Options):
            path: RecipePath

        class Lines:
            def __init__(self, config):
                self.path = Path(config.path)

            def read(self):
                for ordinal, row in enumerate(self.path.read_bytes().splitlines(True)):
                    query, _, answer = row.decode().rstrip().partition("\\t")
                    yield Record(f"line-{ordinal}", query, answer, row,
                                 Origin(self.path.name, ordinal, ordinal + 1))

        @hookimpl
        def qaqfilter_sources():
            yield Component("lines", LinesOptions, Lines, "query TAB answer, one a line")
        """

    @hookspec
    def qaqfilter_sinks(self) -> Iterable[Component[Sink]]:  # type: ignore[empty-body]
        """Where records go: ``output: {use: <name>}``; `create(config, folder: Path) -> Sink`::

        from qaqfilter import Component, Options, hookimpl

        class Queries:
            def __init__(self, config, folder):
                self.file = (folder / "kept.txt").open("w", encoding="utf-8")

            def keep(self, record):
                self.file.write(record.query + "\\n")

            def reject(self, record, rejection): pass
            def close(self): self.file.close()

        @hookimpl
        def qaqfilter_sinks():
            yield Component("queries", Options, Queries, "the kept queries, one a line")
        """

    @hookspec
    def qaqfilter_backends(self) -> Iterable[Component[Backend]]:  # type: ignore[empty-body]
        """Language models: ``models: {<name>: {use: <name>}}``.

        `create(config, resources) -> Backend`; `resources` finds model files and reads the
        run's input. The whole duty of a backend is in `qaqfilter.Backend`::

            import math
            import numpy as np
            from qaqfilter import Component, Options, hookimpl

            class Uniform:
                max_length = batch_tokens = 4096
                start_token, adds_start, chat_template = 256, True, None
                facts = {"model": "uniform over 256 bytes"}

                def __init__(self, config, resources): pass
                def close(self): pass

                def encode(self, text, *, markup):
                    return list(text.encode())

                def logprobs(self, sequences):
                    return [tuple(np.full(end - start, -math.log(256)) for start, end in s.spans)
                            for s in sequences]

            @hookimpl
            def qaqfilter_backends():
                yield Component("uniform", Options, Uniform, "every byte is as likely as any")
        """

    @hookspec
    def qaqfilter_selectors(self) -> Iterable[Component[Selector]]:  # type: ignore[empty-body]
        """Scores to filter by: a step's ``use: <name>``.

        `create(config) -> Selector`. A selector scores whole columns (`needs` and `score`), or
        measures one record's text (`measure`; with `labels` words too)::

            from qaqfilter import Component, ModelName, Need, Options, hookimpl

            class SurpriseOptions(Options):
                model: ModelName

            class Surprise:
                columns = ("surprise",)

                def __init__(self, config):
                    self.model = config.model
                    self.needs = (Need(self.model, "answer_given_query"),)

                def score(self, table):
                    return {"surprise": table.nll(self.model, "answer_given_query")}

            @hookimpl
            def qaqfilter_selectors():
                yield Component("surprise", SurpriseOptions, Surprise, "nll(A|Q), nats per token")
        """

    @hookspec
    def qaqfilter_prompts(self) -> Iterable[Component[PromptFormat]]:  # type: ignore[empty-body]
        """How a record becomes context and target: ``prompt: {use: <name>}``.

        `create(config, backend, resources) -> PromptFormat`. Template text is a
        ``Segment(text, markup=True)``, data a ``Segment(text)``::

            from qaqfilter import Component, Options, Request, Segment, hookimpl

            class Labelled:
                def request(self, likelihood, record):
                    query, answer = Segment(record.query), Segment(record.answer)
                    ask, reply = Segment("Q: ", markup=True), Segment("A: ", markup=True)
                    return {
                        "query": Request((ask,), query),
                        "answer": Request((reply,), answer),
                        "answer_given_query": Request((ask, query, reply), answer),
                        "query_given_answer": Request((reply, answer, ask), query),
                    }[likelihood]

            @hookimpl
            def qaqfilter_prompts():
                yield Component("labelled", Options, lambda *_: Labelled(), "Q: and A: before each")
        """

    @hookspec
    def qaqfilter_presets(self) -> Iterable[Component[Mapping[str, object]]]:  # type: ignore[empty-body]
        """Steps that a recipe can write by their name: ``preset: <name>``.

        `create(config) -> dict`, the keys of a step; those that the recipe writes itself stand::

            from qaqfilter import Component, Options, hookimpl

            def easy(config):
                return {"use": "ifd", "variant": "ifd_nll", "keep": {"max": 0.5}}

            @hookimpl
            def qaqfilter_presets():
                yield Component("easy", Options, easy, "what the query all but gives away")
        """

    @hookspec
    def qaqfilter_executors(self) -> Iterable[Component[Executor]]:  # type: ignore[empty-body]
        """Where scoring runs: ``run: {executor: <name>}``; `create(config) -> Executor`::

        from qaqfilter import Component, Options, hookimpl

        class Backwards:
            def score(self, stage, windows):
                with stage.open() as score:
                    yield from score(reversed(list(windows)))

        @hookimpl
        def qaqfilter_executors():
            yield Component("backwards", Options, lambda _: Backwards(), "last window first")
        """

    @hookspec
    def qaqfilter_models(self) -> Iterable[Component[Locator]]:  # type: ignore[empty-body]
        """A scheme of model locations, ``model: <name>:...``; `create(config) -> Locator`::

        from pathlib import Path
        from qaqfilter import Component, ModelError, ModelFiles, Options, hookimpl

        class Shelf:
            def locate(self, location, revision):
                path = Path("/models") / f"{location}.gguf"
                if not path.exists():
                    raise ModelError(f"no model {location!r} on the shelf: {path}")
                return ModelFiles(path, "gguf", digest=f"{path.stat().st_mtime_ns}")

        @hookimpl
        def qaqfilter_models():
            yield Component("shelf", Options, lambda config: Shelf(), "GGUF files below /models")
        """

    @hookspec
    def qaqfilter_commands(self) -> Iterable[Component[click.Command]]:  # type: ignore[empty-body]
        """A verb of the command line: ``qaqfilter <name>``; `create(config) -> click.Command`::

        import click
        from qaqfilter import Component, Options, hookimpl

        @click.command()
        def hello():
            click.echo("hello from a plugin")

        @hookimpl
        def qaqfilter_commands():
            yield Component("hello", Options, lambda config: hello, "Say hello.")
        """

    @hookspec
    def qaqfilter_damages(self) -> Iterable[Component[Damage]]:  # type: ignore[empty-body]
        """How to spoil copies of records, for `qaqfilter calibrate`; `create(config) -> Damage`::

        from qaqfilter import Component, Options, hookimpl

        class Shouted:
            def damage(self, record, others, rng):
                return record.query, record.answer.upper()

        @hookimpl
        def qaqfilter_damages():
            yield Component("shouted", Options, lambda config: Shouted(), "answer in capitals")
        """

    @hookspec
    def qaqfilter_pages(self) -> Iterable[Component[Page]]:  # type: ignore[empty-body]
        """A page in every run directory: ``output: {pages: [<name>]}``; `create(config) -> Page`::

        from qaqfilter import Component, Options, hookimpl

        class Count:
            def wanted(self, run): return []

            def html(self, run, records):
                return f"<!doctype html><title>Kept</title><p>{run.kept.sum()}".encode()

        @hookimpl
        def qaqfilter_pages():
            yield Component("count", Options, lambda config: Count(), "how many are kept")
        """

    @hookspec
    def qaqfilter_run_started(self, recipe: dict[str, object], run: str) -> None:
        """A run, or half of one, begins: its resolved recipe, not to be changed, and its folder::

        from qaqfilter import hookimpl

        @hookimpl
        def qaqfilter_run_started(recipe, run):
            print(f"{recipe['name']} -> {run}")
        """

    @hookspec
    def qaqfilter_step_finished(self, step: str, table: Table, decisions: Decisions) -> None:
        """A step has decided over its whole table::

        from qaqfilter import hookimpl

        @hookimpl
        def qaqfilter_step_finished(step, table, decisions):
            print(f"{step}: kept {int(decisions.kept.sum())} of {len(table)}")
        """

    @hookspec
    def qaqfilter_run_finished(self, report: RunReport) -> None:
        """The outputs are in place::

        from qaqfilter import hookimpl

        @hookimpl
        def qaqfilter_run_finished(report):
            print(f"kept {report.kept} of {report.read}")
        """
