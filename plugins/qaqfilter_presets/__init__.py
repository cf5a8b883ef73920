"""Steps by name: QAQ as we define it, and four published scripts, number for number.

A preset of a script is the prompt that asks as the script asks, the selector that computes what
it computes, and the rule by which it keeps. docs/presets.md says where each differs from the
clean definition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from qaqfilter import Component, Options, hookimpl

Keys = Mapping[str, object]

PRESETS: Mapping[str, tuple[Keys, str]] = {
    "qaq": (
        {"use": "disagreement", "keep": {"fraction": 0.25}},
        "QAQ by the clean definition: a quarter, by stratified ranks",
    ),
    "qaq-repo": (
        {
            "use": "disagreement",
            "ranks": "global",
            "prompt": {"use": "qaq_repo"},
            "keep": {"fraction": 0.25, "of": "input"},
        },
        "QAQ as its authors' script and README have it: a quarter, by global ranks",
    ),
    "superfiltering": (
        {
            "use": "ifd",
            "variant": "ifd_ppl",
            "prompt": {"use": "superfiltering"},
            "keep": {"below": 1, "fraction": 0.1, "of": "input"},
        },
        "IFD as Superfiltering's scripts have it: below 1, then the highest tenth of the input",
    ),
    "cherry": (
        {
            "use": "ifd",
            "variant": "ifd_nll",
            "prompt": {"use": "cherry"},
            "keep": {"max": 1, "fraction": 0.1},
        },
        "IFD as Cherry_LLM's scripts have it: at most 1, then the highest tenth of what is left",
    ),
    "rifd": (
        {"use": "rifd", "prompt": {"use": "reflection_tuning"}, "keep": {"below": 1}},
        "reverse IFD as Selective Reflection-Tuning's scripts have it: below 1",
    ),
}


def _giving(keys: Keys) -> Callable[[Options], Keys]:
    return lambda config: keys


@hookimpl
def qaqfilter_presets() -> Iterator[Component[Keys]]:
    """The five."""
    for name, (keys, summary) in PRESETS.items():
        yield Component(name, Options, _giving(keys), summary)
