"""Trajectory data sets: schema, Parquet storage, and the import of AuctionNet's logs."""

from __future__ import annotations

from auction_env.data.checking import Problem, check
from auction_env.data.dataset import TrajectoryData
from auction_env.data.formats.auctionnet_csv import AuctionNetLogError
from auction_env.data.formats.auctionnet_import import ImportSummary, import_auctionnet
from auction_env.data.manifest import DataSetError, Manifest, read_manifest
from auction_env.data.schema import COLUMN_NAMES, COLUMNS, SCHEMA_VERSION, Column, arrow_schema
from auction_env.data.splits import SPLITS, write_splits
from auction_env.data.storage import load, load_columns, write

__all__ = [
    "COLUMNS",
    "COLUMN_NAMES",
    "SCHEMA_VERSION",
    "SPLITS",
    "AuctionNetLogError",
    "Column",
    "DataSetError",
    "ImportSummary",
    "Manifest",
    "Problem",
    "TrajectoryData",
    "arrow_schema",
    "check",
    "import_auctionnet",
    "load",
    "load_columns",
    "read_manifest",
    "write",
    "write_splits",
]
