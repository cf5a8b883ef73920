"""The last read: every record goes to its place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import cast

from qaqfilter.blame import Plugin
from qaqfilter.errors import QaqfilterError
from qaqfilter.fates import AT_ONCE, Fates
from qaqfilter.sinks import Annotates, Numbers, Sink
from qaqfilter.stream import RecordStream
from qaqfilter.types import Record


def labelled(stream: RecordStream) -> Iterator[Record]:
    """Every record in order; of those that share an id, later ones are called id#2, id#3, ..."""
    seen: dict[str, int] = {}
    for record in stream.read():
        if record.id in stream.duplicate_ids:
            seen[record.id] = seen.get(record.id, 0) + 1
            if seen[record.id] > 1:
                yield replace(record, id=f"{record.id}#{seen[record.id]}")
                continue
        yield record


def write_records(
    records: Iterable[Record],
    fates: Fates,
    sink: Sink,
    plugin: Plugin,
    *,
    rejects: bool,
    progress: Callable[[int, int], None],
    numbers: Callable[[int], Numbers] | None = None,
) -> tuple[int, int]:
    """Send each record to its place, in stream order; (kept, rejected) as written.

    With `numbers`, which gives those of a row, the sink is one that Annotates. `plugin` is who made
    the sink. Raises PluginFailed for what it raises, but lets an OSError pass.
    """
    kept = rejected = done = 0
    for row, (record, rejection) in enumerate(zip(records, fates.rejections(), strict=True)):
        beside = None if numbers is None or rejection is not None else numbers(row)
        try:
            if rejection is not None:
                if rejects:
                    sink.reject(record, rejection)
            elif beside is None:
                sink.keep(record)
            else:
                cast(Annotates, sink).keep_with(record, beside)
        except (QaqfilterError, OSError, KeyboardInterrupt):
            raise
        except BaseException as error:
            doing = "keep()" if rejection is None else "reject()"
            raise plugin.failed(doing, error, f"{record.origin}: ") from error
        kept += rejection is None
        rejected += rejection is not None
        done += 1
        if done == AT_ONCE:
            progress(done, 0)
            done = 0
    progress(done, 0)
    return kept, rejected
