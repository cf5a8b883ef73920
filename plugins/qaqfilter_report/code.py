"""Text of a record as HTML: its code highlighted, what cannot be seen marked, too much cut."""

from __future__ import annotations

import re

from markupsafe import Markup, escape
from pygments import highlight
from pygments.formatters.html import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

MOST = 4000
"""Characters that are shown of a text."""
MARKUP = 8

_FENCED = re.compile(
    r"^ {0,3}(?P<fence>```+|~~~+)[ \t]*(?P<language>[\w+#.-]*)[^\n]*\n"
    r"(?P<code>.*?)(?:^ {0,3}(?P=fence)[ \t]*$|\Z)",
    re.MULTILINE | re.DOTALL,
)
_CODE = re.compile(
    r"^\s*(async def |class |const |def |fn |from \w+ import |func |function |#include|import |"
    r"let |package |public |return\b|var )",
    re.MULTILINE,
)
_UNSEEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069"
    "\ufeff\ud800-\udfff]"
)
"""Characters that cannot be seen, or that turn the direction of writing."""
_FORMAT = HtmlFormatter(nowrap=True)


def highlighted(text: str, most: int = MOST) -> Markup:
    """The beginning of a text, as the inside of a `pre`.

    What stands between fences is highlighted as the language that they name; a text that has no
    fences and looks like code, as Python. Characters that cannot be seen, or that turn the
    direction of writing, are shown by their numbers. At most `most` characters are shown, and
    fewer where they would take more than MARKUP times as many as HTML.
    """
    length = min(most, len(text))
    while len(shown := Markup("").join(_parts(text[:length]))) > MARKUP * most:
        length //= 2
    return shown + Markup('<span class="cut"> … cut here</span>') * (length < len(text))


def seen(text: str) -> Markup:
    """A text that is no code, such as an id, with the same marks."""
    return _marked(str(escape(text)))


def escaped(text: str) -> str:
    """The same where there can be no markup: what cannot be seen as ``\\u202e``."""
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _parts(text: str) -> list[Markup]:
    parts, at = [], 0
    for block in _FENCED.finditer(text):
        start, end = block.span("code")
        parts += [seen(text[at:start]), _code(text[start:end], block["language"] or "python")]
        at = end
    if not parts and _CODE.search(text):
        return [_code(text, "python")]
    return [*parts, seen(text[at:])]


def _code(text: str, language: str) -> Markup:
    try:
        lexer = get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return seen(text)
    html = highlight(text, lexer, _FORMAT)
    # The formatter ends every line, where the text may not.
    return _marked(html if text.endswith("\n") else html.removesuffix("\n"))


def _marked(html: str) -> Markup:
    return Markup(_UNSEEN.sub(_mark, html))


def _mark(found: re.Match[str]) -> str:
    return f'<span class="unseen">U+{ord(found[0]):04X}</span>'
