"""Trajectory data sets: schema, Parquet storage, and the import of AuctionNet's logs."""

from __future__ import annotations

from auction_env.data.auctionnet import ImportSummary, import_auctionnet
from auction_env.data.auctionnet_log import AuctionNetLogError
from auction_env.data.dataset import TrajectoryData
from auction_env.data.schema import COLUMN_NAMES, COLUMNS, SCHEMA_VERSION, Column, arrow_schema
from auction_env.data.storage import DataSetError, load, write

__all__ = [
    "COLUMNS",
    "COLUMN_NAMES",
    "SCHEMA_VERSION",
    "AuctionNetLogError",
    "Column",
    "DataSetError",
    "ImportSummary",
    "TrajectoryData",
    "arrow_schema",
    "import_auctionnet",
    "load",
    "write",
]
