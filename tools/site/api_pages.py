"""The pages on what is public, as text for mkdocstrings: names, protocols, contracts, hooks."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from dataclasses import dataclass

import griffe
from outside import SiteError

import qaqfilter
from qaqfilter import testing
from qaqfilter.hookspecs import Specs


@dataclass(frozen=True)
class ApiPage:
    """A page of the API: its file, heading, what it is about, and names by section."""

    file: str
    title: str
    about: str
    sections: dict[str, str]

    @property
    def names(self) -> list[str]:
        """All names on the page, in order."""
        return [name for names in self.sections.values() for name in names.split()]


PAGES = (
    ApiPage(
        "running.md",
        "Recipes, records, tables",
        "What a script or a notebook calls. [From Python](../python.md) shows it at work.",
        {
            "Run a recipe": "load_recipe run score_recipe select_recipe plan preview Recipe",
            "Records in memory": "score select",
            "The account of a run": "RunReport Cost Work Observer Silent",
        },
    ),
    ApiPage(
        "values.md",
        "Values",
        "What flows through a run, in the order in which it flows.",
        {
            "Records": "Record Origin Turn BadRecord",
            "What a model is asked": "LIKELIHOODS Request Segment Joint Limit Whole TokenSequence",
            "Numbers": "LikelihoodColumn Status TokenLogprobs Table Window WindowScores "
            "Floats Ints Bools",
            "Decisions": "Decisions Rejection Numbers",
            "A finished run": "Finished FinishedStep Standing",
        },
    ),
    ApiPage(
        "plugins.md",
        "What plugins are made of",
        "A plugin yields components from [hooks](../hooks.md); a component makes an object that "
        "keeps one of these protocols. [Writing a plugin](../plugins.md) begins with a file.",
        {
            "A component and its options": "hookimpl Component Needs Options RecipePath "
            "ExistingRecipePath RecipeGlob ModelLocation ModelName ColumnWeights RunSeed Resources",
            "Sources and sinks": "Source Sink Annotates",
            "Backends and models": "Backend LoadsLate ChatTemplate Locator ModelFiles",
            "Prompts": "PromptFormat",
            "Selectors": "Selector Need Paper",
            "Executors": "Executor Stage Divisible Divided Starts Travels ScoresTogether Prepares "
            "Readied Killer",
            "Damages and pages": "Damage Page",
            "Help for selectors": "fractional_ranks equal_count_bins nth_smallest pack unpack "
            "packed_names Fenced fenced_blocks prose",
        },
    ),
    ApiPage(
        "errors.md",
        "Errors",
        "Everything that qaqfilter raises on purpose. The messages say where it happened, what "
        "is wrong, and how to mend it.",
        {
            "Each of them": "QaqfilterError UsageError RecipeError PluginError PluginFailed "
            "TooManyBadRecords SourceError ModelError PromptError PromptRefused BackendError "
            "BackendHung StoreError NotScored RunDirectoryError",
        },
    ),
)
OPTIONAL = ("protocols", "selectors", "sinks")
"""Modules whose further protocols a plugin may keep."""


def api_pages() -> Iterator[tuple[str, str]]:
    """(place, text) of every page. A public name that stands on none is an error."""
    told = [name for page in PAGES for name in page.names]
    if sorted(told) != sorted(qaqfilter.__all__):
        odd = sorted(set(told) ^ set(qaqfilter.__all__)) or "a name that stands twice"
        raise SiteError(f"{__file__}: PAGES and qaqfilter.__all__ differ: {odd}")
    yield "api/index.md", _index()
    for page in PAGES:
        yield f"api/{page.file}", _page(page)
    yield "api/optional.md", _optional()
    yield "api/testing.md", _testing()
    yield "api/hookspecs.md", _hookspecs()


def _index() -> str:
    parts = [
        "# Python API\n\nThe public names, from their docstrings. What is public, and how it may "
        "change: [What stays as it is](../stability.md).\n"
    ]
    package = griffe.load("qaqfilter")
    for page in PAGES:
        parts.append(f"## [{page.title}]({page.file})\n\n| name | what it is |\n|---|---|")
        parts += [
            f"| [`{name}`][qaqfilter.{name}] | {_summary(name, package)} |" for name in page.names
        ]
        parts.append("")
    parts.append(
        "Further: [what a plugin may be able to do](optional.md), [contracts for "
        "tests](testing.md), and [each hook with an example](hookspecs.md).\n"
    )
    return "\n".join(parts)


def _page(page: ApiPage) -> str:
    parts = [f"# {page.title}\n\n{page.about}\n"]
    if page.file == "errors.md":
        tree = inspect.getdoc(qaqfilter.errors) or ""
        parts.append(f"```text\n{tree.split(chr(10) * 2)[1]}\n```\n")
    for section, names in page.sections.items():
        parts.append(f"## {section}\n")
        parts += [_object(f"qaqfilter.{name}") for name in names.split()]
    return "\n".join(parts)


def _optional() -> str:
    """Protocols beside the public names: what the core looks for in an object, and does without."""
    parts = [
        "# What a plugin may be able to do\n\nThe core looks whether an object has these methods, "
        "and does without where it has not. Nothing is inherited, so nothing is imported: a class "
        "with the method has the ability.\n"
    ]
    for name in OPTIONAL:
        module = importlib.import_module(f"qaqfilter.{name}")
        parts.append(f"## qaqfilter.{name}\n")
        parts += [
            _object(f"qaqfilter.{name}.{protocol}")
            for protocol, thing in vars(module).items()
            if getattr(thing, "_is_protocol", False)
            and thing.__module__ == module.__name__
            and protocol not in qaqfilter.__all__
        ]
    return "\n".join(parts)


def _testing() -> str:
    parts = [
        "# Contracts for tests\n\nOf a contract a test inherits: override the fixtures that it "
        "names, and every method `test_...` is a test of your plugin. How to use them: "
        "[Tests by contract](../plugins.md#tests-by-contract).\n",
        "## Contracts\n",
    ]
    contracts = [name for name in testing.__all__ if name.endswith("Contract")]
    parts += [_object(f"qaqfilter.testing.{name}") for name in contracts]
    parts.append("## Samples and helpers\n")
    others = [name for name in testing.__all__ if name not in contracts]
    parts += [_object(f"qaqfilter.testing.{name}") for name in others]
    parts.append("## Fixtures\n\nThere as soon as qaqfilter is installed, in every pytest.\n")
    fixtures = ("run_recipe", "tiny_records", "reference_backend", "RecipeRun")
    parts += [_object(f"pytest_qaqfilter.{name}") for name in fixtures]
    return "\n".join(parts)


def _hookspecs() -> str:
    parts = [
        "# Hook specs\n\nEvery hook with a complete plugin, from `qaqfilter/hookspecs.py`. The "
        "rules of each: [Hooks](../hooks.md).\n"
    ]
    hooks = [name for name in vars(Specs) if name.startswith("qaqfilter_")]
    options = "    options:\n      heading_level: 2\n"
    parts += [f"::: qaqfilter.hookspecs.Specs.{name}\n{options}" for name in hooks]
    return "\n".join(parts)


def _object(path: str) -> str:
    """One object; what a protocol asks for, or a tuple holds, is told without a docstring too."""
    module, _, name = path.rpartition(".")
    thing = getattr(importlib.import_module(module), name)
    bare = getattr(thing, "_is_protocol", False) or hasattr(thing, "_fields")
    return f"::: {path}\n" + "    options:\n      show_if_no_docstring: true\n" * bare


def _summary(name: str, package: griffe.Object | griffe.Alias) -> str:
    """The first sentence of a name's docstring; that of an alias is in the source alone."""
    docstring = package[name].docstring
    first = " ".join(docstring.value.split()) if docstring else ""
    sentence = first.split(". ")[0].split("::")[0].rstrip(".:; ")
    return sentence.replace("|", "\\|")
