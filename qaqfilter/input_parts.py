"""What is remembered of an input part by part (a file, say), and how two such memories differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b


@dataclass(frozen=True, slots=True)
class InputPart:
    """A part as it was when it was read: its records, good and bad, and a digest of them.

    `set_aside` are those of its bad records that are bad since they killed who scored them: why, by
    the digest of the record (`digest_of_row`).
    """

    part: str
    records: int
    bad: int
    digest: str
    set_aside: Mapping[str, str] = field(default_factory=dict)


def digest_of(pieces: Sequence[bytes]) -> str:
    """blake2b-128, in hex, over digests of equal length."""
    return blake2b(b"".join(pieces), digest_size=16).hexdigest()


def digest_of_row(row: bytes) -> str:
    """blake2b-128, in hex, of one record as it stands in its file."""
    return blake2b(row, digest_size=16).hexdigest()


def all_set_aside(parts: Sequence[InputPart]) -> dict[str, str]:
    """What killed who scored it, in any part."""
    return {digest: why for part in parts for digest, why in part.set_aside.items()}


def whole_digest(parts: Sequence[InputPart]) -> str:
    """One digest of an input: over those of its parts, in order."""
    return digest_of([bytes.fromhex(part.digest) for part in parts])


def differences(before: Sequence[InputPart], now: Sequence[InputPart]) -> Iterator[str]:
    """What changed, a phrase a part: changed, new or gone."""
    then = {part.part: part for part in before}
    for part in now:
        old = then.pop(part.part, None)
        if old is None:
            yield f"{part.part} is new ({part.records} records)"
        elif old.digest != part.digest:
            yield f"{part.part} changed ({old.records} records then, {part.records} now)"
    yield from (f"{part.part} is gone ({part.records} records)" for part in then.values())
