"""`quarantine.jsonl`: what was no record, where it stood, what is wrong with it, and its bytes."""

from __future__ import annotations

import base64
from typing import Any

import orjson

from qaqfilter.types import BadRecord

QUARANTINE = "quarantine.jsonl"


def quarantine_line(bad: BadRecord) -> bytes:
    """A bad record as a line of the file; bytes that are no text are in base64."""
    line: dict[str, Any] = {
        "part": bad.origin.part,
        "ordinal": bad.origin.ordinal,
        "line": bad.origin.line,
        "error": bad.error,
    }
    try:
        line["raw"] = bad.row.decode()
    except UnicodeDecodeError:
        line["raw_base64"] = base64.b64encode(bad.row).decode()
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
