"""One HTML file that needs nothing else: template, style, scripts and data, and what it may do.

What is in records comes from anybody. Templates escape all text; data for scripts is JSON in an
element that is never run; and a content security policy lets no other script run than ours, named
by their digests, and lets nothing be fetched.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import jinja2
import orjson
from markupsafe import Markup

from qaqfilter_report import code, wording
from qaqfilter_report.vega import bundle


def document(template: str, *, charts: Sequence[Mapping[str, Any]] = (), **context: Any) -> bytes:
    """The file of a template in this package.

    `charts` go to `static/charts.js`, which draws each (`id`, `spec`) into the element of that id;
    without any, the charts' library is left out. Everything in `context` is plain data, and is
    escaped; strings are never Markup but where this package made them.
    """
    scripts = [bundle(), _static("charts.js")] if charts else []
    policy = [
        "default-src 'none'",
        "script-src " + (" ".join(map(_digest, scripts)) or "'none'"),
        "style-src 'unsafe-inline'",  # widths of bars, and what charts put on their elements
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    text = (
        _environment()
        .get_template(template)
        .render(
            policy="; ".join(policy),
            style=Markup(_static("page.css")),
            scripts=[Markup(script) for script in scripts],
            charts=_json(charts),
            version=version("qaqfilter"),
            **context,
        )
    )
    # Text of records may hold halves of surrogate pairs, which no file can hold.
    return text.encode("utf-8", errors="replace")


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("qaqfilter_report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "code": code.highlighted,
        "seen": code.seen,
        "json": _json,
        "number": wording.number,
        "count": wording.count,
        "percent": wording.percent,
        "seconds": wording.seconds,
    }
    return made


@lru_cache
def _static(name: str) -> str:
    return (files("qaqfilter_report") / "static" / name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    """How a policy names a script."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _json(data: Any) -> Markup:
    """JSON that cannot end the element it stands in."""
    written = orjson.dumps(data, option=orjson.OPT_SERIALIZE_NUMPY).decode()
    return Markup(written.replace("<", "\\u003c"))
