"""The input is read several times, and must be the same each time, to the last row."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
import pytest

from qaqfilter import BadRecord, Origin, Record, SourceError
from qaqfilter.input_parts import digest_of_row
from qaqfilter.recipe_keys import InputKeys
from qaqfilter.stream import CHECK_EVERY, RecordStream


@dataclass
class Rows:
    """A source whose rows a test may change between two reads."""

    rows: list[bytes] = field(default_factory=list)

    def read(self):
        for number, row in enumerate(self.rows):
            origin = Origin("rows", number)
            if row.startswith(b"bad"):
                yield BadRecord("bad", row, origin)
            else:
                yield Record(row.decode(), "q", "a", row, origin)


def surveyed(count: int, bad: tuple[int, ...] = ()) -> tuple[Rows, RecordStream]:
    rows = [b"bad%d" % n if n in bad else b"r%d" % n for n in range(count)]
    source = Rows(rows)
    stream = RecordStream(source, InputKeys(max_errors=len(bad) + 1))
    seen: list[int] = []
    stream.survey(lambda item: None, lambda records, tokens: seen.append(records))
    assert sum(seen) == count
    return source, stream


@pytest.mark.parametrize("count", [0, 1, CHECK_EVERY - 1, CHECK_EVERY, CHECK_EVERY + 1])
def test_the_digest_is_that_of_blocks_of_rows_with_their_lengths(count) -> None:
    source, stream = surveyed(count)
    blocks = [source.rows[:CHECK_EVERY], source.rows[CHECK_EVERY:]]
    if count < CHECK_EVERY:
        blocks.pop()
    parts = [b"".join(len(r).to_bytes(8, "big") + r for r in block) for block in blocks]
    digests = b"".join(blake2b(part, digest_size=16).digest() for part in parts)
    assert [part.digest for part in stream.parts] == [
        blake2b(digests, digest_size=16).hexdigest() for _ in range(count > 0)
    ]
    assert len(list(stream.read())) == stream.records == count


@pytest.mark.parametrize("size", [1, 3, 4, 100])
@pytest.mark.parametrize("wanted", [[], [0], [7], [1, 2, 5, 6], list(range(8))])
def test_windows_hold_the_rows_asked_for(wanted, size) -> None:
    _, stream = surveyed(9, bad=(3,))
    windows = list(stream.windows(np.array(wanted, dtype=np.int64), size))
    assert [w.index for w in windows] == list(range(-(-len(wanted) // size)))
    assert [row for w in windows for row in w.rows] == wanted
    assert [r.id for w in windows for r in w.records] == [f"r{n + (n >= 3)}" for n in wanted]
    assert all(len(w.rows) == len(w.records) <= size for w in windows)


@pytest.mark.parametrize("count", [5, CHECK_EVERY, CHECK_EVERY + 5])
@pytest.mark.parametrize("change", ["more", "fewer", "other", "bad", "empty"])
def test_a_change_is_noticed_though_no_window_asks_for_it(count, change) -> None:
    source, stream = surveyed(count)
    match change:
        case "more":
            source.rows.append(b"late")
        case "fewer":
            source.rows.pop()
        case "other":
            source.rows[-1] = b"other"
        case "bad":
            source.rows[-1] = b"bad"
        case "empty":
            source.rows.clear()
    with pytest.raises(SourceError, match=r"^(rows: )?the input changed"):
        list(stream.windows(np.array([0]), 2))


def test_no_record_is_handed_out_beyond_those_surveyed() -> None:
    source, stream = surveyed(5)
    source.rows.append(b"late")
    found = []
    with pytest.raises(SourceError, match=r"rows: the input changed .* up to rows#5"):
        found.extend(record.id for record in stream.read())
    reading = stream.read()
    assert [next(reading).id for _ in range(5)] == [f"r{n}" for n in range(5)]


def test_ids_that_stand_twice() -> None:
    source = Rows([b"a", b"b", b"a", b"c", b"b", b"a"])
    stream = RecordStream(source, InputKeys())
    stream.survey(lambda item: None, lambda records, tokens: None)
    assert stream.duplicate_ids == {"a", "b"}


def test_what_kills_who_scores_it_is_a_bad_record_in_every_read() -> None:
    """By its bytes, wherever it stands; the parts remember it for whoever reads by them."""
    source, before = surveyed(9, bad=(3,))
    killers = {digest_of_row(b"r%d" % n): f"kills {n}" for n in (5, 70)}
    stream = RecordStream(source, InputKeys(max_errors=5), set_aside=killers)
    quarantined: list[BadRecord] = []
    stream.survey(quarantined.append, lambda records, tokens: None)
    assert [(item.error, item.row) for item in quarantined] == [
        ("bad", b"bad3"),
        ("kills 5", b"r5"),
    ]
    assert (stream.records, stream.bad) == (7, 2)
    ids = [record.id for record in stream.read()]
    assert ids == ["r0", "r1", "r2", "r4", "r6", "r7", "r8"]
    (part,) = stream.parts
    assert part.set_aside == {digest_of_row(b"r5"): "kills 5"}
    assert part.digest == before.parts[0].digest  # the input is the same
    later = RecordStream(source, InputKeys(), parts=stream.parts)
    assert [record.id for record in later.read()] == ids
    assert [record.id for record in later.read_from(0)] == ids
