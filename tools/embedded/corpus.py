"""The text that the embedded models learn from: source code of installed open-source packages.

The standard library is not among them, nor is anything that has a docstring or a function in
common with it, so that tests, the quickstart and calibration can use it; nor are copies of it
(setuptools' distutils, backports) or of the held-out packages. `HELD_OUT` packages are for
measuring perplexity.
"""

from __future__ import annotations

import importlib.metadata
import random
import tokenize
from dataclasses import dataclass
from typing import NamedTuple

from qaqfilter_docstrings.functions import functions
from qaqfilter_docstrings.packages import modules

TRAINING = (
    "_pytest",
    "accelerate",
    "anyio",
    "charset_normalizer",
    "diskcache",
    "filelock",
    "fire",
    "fsspec",
    "functorch",
    "gguf",
    "grimp",
    "hatchling",
    "httpcore2",
    "httpx2",
    "huggingface_hub",
    "hypothesis",
    "idna",
    "importlinter",
    "jinja2",
    "llama_cpp",
    "markdown_it",
    "mpmath",
    "mypy",
    "mypyc",
    "networkx",
    "nodeenv",
    "numpy",
    "packaging",
    "pathspec",
    "platformdirs",
    "pluggy",
    "pre_commit",
    "psutil",
    "pyarrow",
    "pydantic",
    "pydantic_core",
    "pygments",
    "requests",
    "ruamel",
    "safetensors",
    "scikit_build_core",
    "setuptools",
    "sortedcontainers",
    "sympy",
    "tokenizers",
    "tomlkit",
    "torch",
    "torchgen",
    "tqdm",
    "transformers",
    "urllib3",
    "virtualenv",
    "yaml",
    "zstandard",
)
HELD_OUT = ("click", "rich")
_COPIES = ("_distutils", "distutils", "_vendor", "_backport", "_click")
_LARGEST = 12_000  # of the pairs of one package: torch alone has more than the rest together


class Pair(NamedTuple):
    """A docstring and its function, without the docstring."""

    package: str
    query: str
    answer: str


@dataclass(frozen=True)
class Corpus:
    """Everything that is read from disk; the same for the same package versions."""

    pairs: list[Pair]
    code: list[Pair]  # plain code, in `answer`; `query` is empty
    held_out: list[Pair]


def read_corpus(seed: int) -> Corpus:
    """Read all packages. A text that also stands in the standard library is left out."""
    forbidden: set[str] = set()
    for package in ("stdlib", *HELD_OUT):
        for pair in _pairs(package):
            forbidden |= {pair.query, pair.answer}
    held_out = [
        pair
        for package in HELD_OUT
        for pair in _pairs(package)
        if 20 <= len(pair.query) <= 2000 and 40 <= len(pair.answer) <= 4000
    ]
    draw = random.Random(seed)
    pairs: list[Pair] = []
    code: list[Pair] = []
    seen = set(forbidden)
    for package in TRAINING:
        found = []
        for pair in _pairs(package):
            if len(pair.query) < 15 or len(pair.answer) < 40:
                continue
            if pair.query in seen or pair.answer in seen:
                continue
            seen |= {pair.query, pair.answer}
            found.append(pair)
        draw.shuffle(found)
        pairs += found[:_LARGEST]
        code += _code(package, draw)
    return Corpus(pairs, code, held_out)


def licences() -> dict[str, tuple[str, str, str]]:
    """Package -> (distribution, version, licence as its metadata states it)."""
    owners = importlib.metadata.packages_distributions()
    found = {}
    for package in (*TRAINING, *HELD_OUT):
        about = importlib.metadata.metadata(owners[package][0])
        licence = about.get("License-Expression") or (about.get("License") or "").split("\n")[0]
        if not licence:
            stated = [c for c in about.get_all("Classifier") or [] if c.startswith("License")]
            licence = stated[0].rpartition(":: ")[2] if stated else "see its distribution"
        found[package] = (about["Name"], about["Version"], licence)
    return found


def _pairs(package: str) -> list[Pair]:
    found = []
    for _, text in _sources(package):
        try:
            taken = sorted(functions(text), key=lambda function: function.line)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        found += [Pair(package, function.docstring, function.source) for function in taken]
    return found


def _sources(package: str) -> list[tuple[str, str]]:
    found = []
    for module, path in modules(package):
        if any(part in _COPIES for part in module.split(".")):
            continue
        try:
            with tokenize.open(path) as file:
                text = file.read()
            text.encode()
        except (OSError, SyntaxError, ValueError):
            continue
        found.append((module, text))
    return found


def _code(package: str, draw: random.Random) -> list[Pair]:
    """One stretch of about 1,500 characters out of every second file, cut at line ends."""
    found = []
    for _, text in _sources(package):
        if len(text) < 400 or draw.random() < 0.5:
            continue
        start = draw.randrange(max(1, len(text) - 1500))
        start = text.find("\n", start) + 1
        found.append(Pair(package, "", text[start : start + 1500]))
    return found
