"""Which rows of a data set are read: `train`, `train+test`, `train[:10%]`, `all`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from qaqfilter import SourceError
from qaqfilter.printable import printable


class Rows(NamedTuple):
    """Some rows of one split: a `Dataset` or an `IterableDataset`, and the features of all."""

    part: str
    data: Any
    features: Any = None


def chosen(splits: Mapping[str, Any], split: str | None, name: str) -> Iterator[Rows]:
    """The rows that `split` names, split by split, in its order.

    Raises SourceError, with the splits that there are; `name` is the data set's.
    """
    if split is None:
        split = next(iter(splits)) if len(splits) == 1 else "train"
        if split not in splits:
            raise SourceError(f"{name}: name a split with `split`; there are: {_listed(splits)}")
    names = list(splits) if split == "all" else [part.strip() for part in split.split("+")]
    if len(set(names)) < len(names):
        raise SourceError(f"{name}: `split: {split}` names a part twice; name each once")
    for part in names:
        if part in splits:
            yield Rows(part, splits[part])
        else:
            yield Rows(part, _slice(splits, part, name))


def _slice(splits: Mapping[str, Any], part: str, name: str) -> Any:
    """Some rows of a split, counted as `datasets` does."""
    from datasets import Dataset, ReadInstruction

    whole = part.partition("[")[0]
    if whole not in splits or whole == part:
        raise SourceError(
            f"{name}: no split is called {printable(part)!r}; there are: {_listed(splits)}"
        )
    data = splits[whole]
    if not isinstance(data, Dataset):
        raise SourceError(
            f"{name}: what is streamed has no length to take {printable(part)!r} of; remove "
            "`streaming: true`, or read a whole split"
        )
    try:
        found = ReadInstruction.from_spec(part).to_absolute({whole: len(data)})[0]
    except (ValueError, AssertionError) as error:
        raise SourceError(
            f"{name}: {printable(part)!r} is no slice of a split of {len(data)} rows "
            f"({printable(str(error))}); write {whole}[:100], {whole}[10%:20%] or the like"
        ) from None
    last = len(data) if found.to is None else found.to
    return data.select(range(found.from_ or 0, last))


def _listed(splits: Mapping[str, Any]) -> str:
    return ", ".join(map(printable, splits))
