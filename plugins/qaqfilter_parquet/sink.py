"""Kept records with the schema and metadata of the input; rejected ones with the reason too."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from qaqfilter.arrow_sink import ArrowSink
from qaqfilter.output_files import ShardOptions
from qaqfilter_parquet.output import Output


class ParquetSinkOptions(ShardOptions):
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
        common = config.compression, config.row_group_rows
        super().__init__(
            Output(folder, "kept", *common, config),
            Output(folder, "rejected", *common, ShardOptions()),
            config.infer_rows,
        )
