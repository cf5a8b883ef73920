"""Kept records with the schema and metadata of the input; rejected ones with the reason too."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from qaqfilter import Options
from qaqfilter.arrow_sink import ArrowSink
from qaqfilter_parquet.output import Output


class ParquetSinkOptions(Options):
    """`kept.parquet` and `rejected.parquet` in the output folder."""

    compression: Literal["zstd", "snappy", "gzip", "lz4", "brotli", "none"] = Field(
        "zstd", description="How pages are compressed."
    )
    row_group_rows: int = Field(
        10_000,
        ge=1,
        le=1 << 20,
        description="Most rows of a row group, which is held in memory until it is written; "
        "64 MiB end one, too.",
    )
    shard_rows: int | None = Field(
        None,
        ge=1,
        description="Kept records a file: kept-00000.parquet, kept-00001.parquet, ...; all in "
        "kept.parquet if it is left out.",
    )
    infer_rows: int = Field(
        1000,
        ge=1,
        le=1 << 20,
        description="Records of another format (jsonl, say) from which the columns and their "
        "types are taken; a later record that does not fit ends the run.",
    )


class ParquetSink(ArrowSink):
    """Writes `kept.parquet`, and `rejected.parquet` when a record is rejected."""

    def __init__(self, config: ParquetSinkOptions, folder: Path) -> None:
        common = folder, config.compression, config.row_group_rows
        super().__init__(
            Output(common[0], "kept", common[1], common[2], config.shard_rows),
            Output(common[0], "rejected", common[1], common[2], None),
            config.infer_rows,
        )
