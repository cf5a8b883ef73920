"""The code in answers: which programming language it is in, and whether it parses.

`pieces.py` finds code and the name of its language, `detecting.py` asks Magika where nothing names
it, and `grammars.py` parses with tree-sitter.
"""

from __future__ import annotations

from collections.abc import Iterator

from qaqfilter import Component, Needs, Selector, hookimpl
from qaqfilter_code.language import CodeLanguage, CodeLanguageOptions
from qaqfilter_code.syntax import Syntax, SyntaxOptions

__all__ = ["qaqfilter_selectors"]


@hookimpl
def qaqfilter_selectors() -> Iterator[Component[Selector]]:
    """Offer `code_language` and `syntax`."""
    yield Component(
        "code_language",
        CodeLanguageOptions,
        CodeLanguage,
        "which programming language the code of the answer is in; no model needed",
        Needs("qaqfilter[language]", ("magika",)),
    )
    yield Component(
        "syntax",
        SyntaxOptions,
        Syntax,
        "whether the code of the answer parses; no model needed",
        Needs("qaqfilter[syntax]", ("tree_sitter", "tree_sitter_python", "magika")),
    )
