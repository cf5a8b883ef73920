"""Records from a Hugging Face data set, a batch of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from qaqfilter import BadRecord, Origin, Record, SourceError
from qaqfilter.arrow_rows import ArrowRow, Batch, records
from qaqfilter.layout_options import LayoutOptions, find_layout
from qaqfilter.layouts import Layout
from qaqfilter.options import DataFolder, FolderOrHubId, PathFolder
from qaqfilter_datasets.loading import SAVED, load
from qaqfilter_datasets.splits import Rows, chosen
from qaqfilter_datasets.typed import batches, features_of


class DatasetsSourceOptions(LayoutOptions):
    """A Hugging Face data set."""

    path: Annotated[FolderOrHubId, DataFolder(SAVED)] = Field(
        description="A folder relative to the recipe, or a data set on the hub, `org/name`. The "
        "folder was written by `save_to_disk`, or holds data files that `load_dataset` reads. A "
        "folder of that name wins over the hub; `hf:org/name` is always the hub."
    )
    config: str | None = Field(None, description="The configuration, where a data set has several.")
    split: str | None = Field(
        None,
        description="Which rows: `train`, `train+test`, `train[:10%]`, `all`. If it is left out: "
        "the only split, else `train`.",
    )
    revision: str | None = Field(
        None,
        description="Commit, tag or branch of a data set on the hub. Name a commit to repeat a "
        "run.",
    )
    streaming: bool = Field(
        False,
        description="Read the data files where they are, at every read anew. A run reads its input "
        "three times or more, so `false` fetches or converts them once, into the cache of "
        "`datasets`. A folder written by `save_to_disk` is read where it is in any case.",
    )
    batch_rows: int = Field(
        256,
        ge=1,
        le=1 << 16,
        description="Rows that are read together, which bounds the memory. Fewer where single "
        "rows are huge, as with images.",
    )

    @property
    def folder(self) -> Path | None:
        """The folder that is read; None for a data set on the hub."""
        is_folder = isinstance(self.path, PathFolder)
        return Path(self.path.removeprefix("path:")) if is_folder else None


class DatasetsSource:
    """Opens the data set once and reads it as often as asked, from the same revision.

    Images, sounds and the like are never decoded. Each split is a part.
    """

    def __init__(self, config: DatasetsSourceOptions) -> None:
        self._config = config
        self._layout: Layout | None = None
        self._chosen: list[Rows] | None = None

    def read(self) -> Iterator[Record | BadRecord]:
        """Every row as a record or a bad record. `row` is the row as a JSON line.

        Raises SourceError where there is no such data set, configuration, split or revision, where
        data files do not fit together or are damaged, and where `layout: auto` finds none.
        """
        if self._chosen is None:
            self._chosen = self._open()
        if self._layout is None:
            self._layout = find_layout(self._config, self._rows(self._chosen))
        for rows in self._chosen:
            ordinal = 0
            for arrow in self._batches(rows):
                yield from records(Batch(arrow), rows.part, ordinal, self._layout)
                ordinal += arrow.num_rows

    def _open(self) -> list[Rows]:
        config = self._config
        splits = load(
            config.folder,
            config.path.removeprefix("hf:"),
            config=config.config,
            revision=config.revision,
            streaming=config.streaming,
        )
        found = [
            rows._replace(features=features_of(rows, self._name))
            for rows in chosen(splits, config.split, self._name)
        ]
        for rows in found:
            if rows.features != found[0].features:
                raise SourceError(
                    f"{self._name}: {rows.part} has other columns or features than "
                    f"{found[0].part}; read them in a run each"
                )
        return found

    def _batches(self, rows: Rows) -> Iterator[Any]:
        return batches(rows, self._config.batch_rows, self._name)

    def _rows(self, found: list[Rows]) -> Iterator[tuple[Origin, Mapping[str, Any]]]:
        for rows in found:
            ordinal = 0
            for arrow in self._batches(rows):
                batch = Batch(arrow)
                for index in range(arrow.num_rows):
                    yield Origin(rows.part, ordinal + index), ArrowRow(batch, index)
                ordinal += arrow.num_rows

    @property
    def _name(self) -> str:
        """What messages call the data set."""
        return str(self._config.folder or self._config.path)
