"""Trajectory data sets: schema, Parquet storage, and the import of logs."""

from __future__ import annotations

from auction_env.data.checking import Problem, check
from auction_env.data.dataset import TrajectoryData
from auction_env.data.formats.auctionnet_import import ImportSummary, import_auctionnet_impressions
from auction_env.data.formats.ipinyou.importing import IpinyouSummary, import_ipinyou
from auction_env.data.formats.sources import AuctionNetLogError
from auction_env.data.formats.table.bids import import_bids
from auction_env.data.formats.table.problems import TableError, TableProblem
from auction_env.data.formats.table.trajectories import TableSummary, from_table, import_table
from auction_env.data.formats.trajectory_import import import_auctionnet_trajectories
from auction_env.data.manifest import DataSetError, Manifest, read_manifest
from auction_env.data.missing import require
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
    "IpinyouSummary",
    "Manifest",
    "Problem",
    "TableError",
    "TableProblem",
    "TableSummary",
    "TrajectoryData",
    "arrow_schema",
    "check",
    "from_table",
    "import_auctionnet_impressions",
    "import_auctionnet_trajectories",
    "import_bids",
    "import_ipinyou",
    "import_table",
    "load",
    "load_columns",
    "read_manifest",
    "require",
    "write",
    "write_splits",
]
