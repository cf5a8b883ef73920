"""Kept records as a saved data set with the features of the input; rejected ones likewise."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from qaqfilter import Options
from qaqfilter.arrow_sink import ArrowSink
from qaqfilter.output_files import ByteCount
from qaqfilter_datasets.output import SavedFolder


class DatasetsSinkOptions(Options):
    """The folders `kept` and `rejected` in the output folder, as `save_to_disk` writes them."""

    shard_bytes: ByteCount = Field(
        500_000_000,
        description="About how many bytes a file holds; then the next one begins: a number, or "
        "`500MB`, `2GiB`.",
    )
    infer_rows: int = Field(
        1000,
        ge=1,
        le=1 << 20,
        description="Records of a format without types (jsonl, say) from which the columns and "
        "their types are taken; a later record that does not fit ends the run.",
    )


class DatasetsSink(ArrowSink):
    """Writes `kept`, and `rejected` when a record is rejected."""

    def __init__(self, config: DatasetsSinkOptions, folder: Path) -> None:
        super().__init__(
            SavedFolder(folder / "kept", config.shard_bytes),
            SavedFolder(folder / "rejected", config.shard_bytes),
            config.infer_rows,
        )
