"""An iterable that works one item ahead of who uses it, on a thread of its own."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def one_ahead(items: Iterable[T]) -> Generator[T]:
    """Yield the items in order; while one is used, the next is being made.

    An exception of the iterable comes out where its item would have. Closing this generator
    waits for the item that is being made.
    """
    end = object()
    source = iter(items)
    with ThreadPoolExecutor(1, thread_name_prefix="one ahead") as pool:
        coming: Future[T | object] = pool.submit(next, source, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, source, end)
            yield item  # type: ignore[misc]  # what is not `end` came from `items`
