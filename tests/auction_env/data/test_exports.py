"""Export and import: plain NumPy, Minari, and AuctionNet's impression logs of market episodes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv
import pytest

from agents import FixedBidder, NoisyBidder, PidBidder, collect
from agents.logging.impressions import log_impressions
from auction_env.control.actions import LOG_MULTIPLIER_FLOOR
from auction_env.data import DataSetError, TrajectoryData, import_auctionnet_impressions, load
from auction_env.data.dataset import TEXT_COLUMNS, VECTORS
from auction_env.data.formats.auctionnet_csv import LOG_COLUMNS
from auction_env.data.formats.auctionnet_export import ImpressionWriter
from auction_env.data.formats.minari_format import export_minari, import_minari
from auction_env.data.formats.numpy_file import export_numpy, import_numpy
from auction_env.data.schema import UNRECORDED
from auction_env.market.funnel import Funnel
from auction_env.market.market import BatchMarket
from auction_env.market.params import MarketParams
from auction_env.market.tracing import trace_tick
from auction_env.tasks import TASKS

needs_minari = pytest.mark.skipif(importlib.util.find_spec("minari") is None, reason="the extra `minari` is not there")
PARAMS = MarketParams(n_impressions=4800)


@pytest.fixture(scope="module")
def log() -> TrajectoryData:
    days = [
        next(collect(NoisyBidder(PidBidder()), seeds=[seed], task=TASKS[task], params=PARAMS, first_period=seed))
        for seed, task in ((1, "TargetCPA"), (2, "MaxConversions"))
    ]
    return TrajectoryData.concat(days, metadata={"origin": "test"})


def assert_same(left: TrajectoryData, right: TrajectoryData) -> None:
    for name in (*VECTORS, "observation"):
        found, expected = getattr(left, name), getattr(right, name)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected, err_msg=name)
    assert left.tasks == right.tasks and left.labels == right.labels and left.metadata == right.metadata


# --- NumPy -------------------------------------------------------------------------------------------------


def test_numpy_round_trip(log: TrajectoryData, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "log.npz"
    export_numpy(path, log)
    assert_same(import_numpy(path), log)
    with np.load(path, allow_pickle=False) as file:  # readable by anybody
        assert file["observation_names"][0] == "feature_time_left"
        np.testing.assert_array_equal(file["episode_starts"], log.episode_starts)
        assert all(f"{name}_texts" in file for name in TEXT_COLUMNS)
    with pytest.raises(FileExistsError, match=r"must not exist, found a file: .*`force=True`"):
        export_numpy(path, log)
    export_numpy(path, log.select([0]), force=True)
    assert import_numpy(path).n_episodes == 1
    with pytest.raises(ValueError, match=r"`path` must end in \.npz, found 'log\.npy'"):
        export_numpy(tmp_path / "log.npy", log)


def test_other_numpy_files_are_refused(log: TrajectoryData, tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, a=np.zeros(3))
    with pytest.raises(DataSetError, match="must be a file of `export_numpy`"):
        import_numpy(path)
    export_numpy(path, log, force=True)
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **{**arrays, "schema_version": np.array(99)})
    with pytest.raises(DataSetError, match=r"`schema_version` must be .* found 99"):
        import_numpy(path)
    np.savez(path, **{**arrays, "reward": arrays["reward"] * np.nan})
    with pytest.raises(DataSetError, match="`reward` must hold finite numbers"):
        import_numpy(path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataSetError, match="must be a file of `export_numpy`"):
        import_numpy(path)


# --- Minari ------------------------------------------------------------------------------------------------


@needs_minari
@pytest.mark.parametrize("damage", ["truncated", "edited", "missing", "notes"])
def test_a_damaged_minari_data_set_is_refused(damage: str, log: TrajectoryData, tmp_path: Path) -> None:
    export_minari(tmp_path / "set", log)
    path = next((tmp_path / "set").rglob("0/*.arrow")) if damage != "notes" else tmp_path / "set/data/metadata.json"
    raw = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "edited":
        half = len(raw) // 2
        path.write_bytes(raw[:half] + bytes(byte ^ 1 for byte in raw[half : half + 64]) + raw[half + 64 :])
    else:
        path.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(DataSetError, match=r"set: (truncated or damaged: must be|changed: a file is missing)"):
        import_minari(tmp_path / "set")


@needs_minari
def test_minari_round_trip(log: TrajectoryData, tmp_path: Path) -> None:
    import minari

    export_minari(tmp_path / "set", log)
    assert_same(import_minari(tmp_path / "set"), log)
    dataset = minari.MinariDataset(tmp_path / "set" / "data")
    assert (dataset.total_episodes, dataset.total_steps) == (96, len(log))
    for index in (3, 70):
        episode, rows = dataset[index], np.arange(index * 48, index * 48 + 48)
        np.testing.assert_array_equal(episode.observations[:-1], log.observation[rows])
        action = np.asarray(episode.actions)[:, 0]
        active = log.action[rows] > 0
        np.testing.assert_allclose(np.exp(action[active]) * log.cpa_target[rows][active], log.action[rows][active])
        assert np.all(action[~active] == LOG_MULTIPLIER_FLOOR)
        np.testing.assert_array_equal(episode.rewards, log.conversions[rows])
        assert episode.terminations.tolist() == [False] * 47 + [True]
        assert not episode.truncations.any()
    suffixes = {path.suffix for path in (tmp_path / "set").rglob("*") if path.is_file()}
    assert suffixes == {".json", ".arrow"}  # nothing that runs on loading


@needs_minari
def test_minari_sets_are_replaced_only_on_request(log: TrajectoryData, tmp_path: Path) -> None:
    export_minari(tmp_path / "set", log.select([0, 1]))
    with pytest.raises(FileExistsError, match="must be empty, found 'data'"):
        export_minari(tmp_path / "set", log)
    export_minari(tmp_path / "set", log.select([5]), force=True)
    assert import_minari(tmp_path / "set").n_episodes == 1
    (tmp_path / "set" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="nothing but a Minari data set"):
        export_minari(tmp_path / "set", log, force=True)
    with pytest.raises(ValueError, match="at least one trajectory"):
        export_minari(tmp_path / "other", log.select([]))
    with pytest.raises(FileNotFoundError, match="must hold a Minari data set"):
        import_minari(tmp_path / "nowhere")


# --- AuctionNet's impressions ------------------------------------------------------------------------------

# what an import cannot know or reckons otherwise
NOT_IN_A_LOG = {"seed", "policy", *UNRECORDED}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mechanism": "first_price", "reserve_noise": 0.3},
        {"mechanism": "vcg", "quality": tuple(np.linspace(0.5, 2.0, 48)), "funnel": Funnel()},
        {"budget_rule": "auctionnet", "is_unsold_at_reserve": True},
    ],
)
def test_a_market_episode_written_as_csv_imports_to_the_same_trajectories(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    """The direct log and the import of the impressions agree up to the rounding of 32-bit values and of sums."""
    params = MarketParams(n_impressions=4800, **options)
    bidder = NoisyBidder(PidBidder(1.3))
    task = TASKS["TargetCPA"]  # the task that an import gives
    direct = TrajectoryData.concat(list(collect(bidder, seeds=[7, 8], task=task, params=params, first_period=3)))
    files = log_impressions(bidder, tmp_path / "csv", seeds=[7, 8], task=task, params=params, first_period=3)
    assert [path.name for path in files] == ["period-3.csv", "period-4.csv"]
    import_auctionnet_impressions(files, tmp_path / "set")
    imported = load(tmp_path / "set")
    assert imported.tasks == direct.tasks
    n_exhausted = int((direct.budget_left[direct.episode_starts[1:] - 1] < 1).sum())
    assert n_exhausted > 5  # some run out of money within the episode
    for name in (*VECTORS, "observation"):
        if name in NOT_IN_A_LOG:
            continue
        found, expected = getattr(imported, name), getattr(direct, name)
        if np.issubdtype(found.dtype, np.floating):
            np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-9, err_msg=name)
        else:
            np.testing.assert_array_equal(found, expected, err_msg=name)


@pytest.mark.parametrize("rule", ["in_order", "auctionnet"])
def test_traced_impressions_add_up_to_the_tick(rule: str) -> None:
    params = MarketParams(n_impressions=9600, funnel=Funnel(), budget_rule=rule)
    market = BatchMarket(params, n_markets=2)
    market.reset([3, 4])
    multipliers = 3.0 * np.stack([market.cpa_target, market.cpa_target[::-1]])
    for _ in range(params.n_ticks):
        traced = [trace_tick(market, multipliers[index], index) for index in (0, 1)]
        result = market.step(multipliers)
        for index, tick in enumerate(traced):
            np.testing.assert_array_equal((tick.slot > 0).sum(axis=0), result.wins[index])
            np.testing.assert_array_equal(tick.exposed.sum(axis=0), result.exposures[index])
            np.testing.assert_array_equal(tick.converted.sum(axis=0), result.conversions[index])
            paid = np.where(tick.exposed, tick.price, 0).sum(axis=0, dtype=np.float64)
            np.testing.assert_allclose(paid, result.cost[index], rtol=1e-12)
            np.testing.assert_allclose(tick.bid.sum(axis=0, dtype=np.float64), result.bid[index], rtol=1e-6)
            if len(tick.slot):
                assert tick.least_winning_cost.mean() == pytest.approx(result.least_winning_cost[index], rel=1e-5)
    assert (result.budget_left < 0.01 * market.budget).any()


def test_impression_logs_have_auctionnets_columns(tmp_path: Path) -> None:
    params = MarketParams(n_impressions=480)
    arguments: dict[str, Any] = {"seeds": [1], "task": TASKS["TargetCPA"], "params": params}
    (path,) = log_impressions(FixedBidder(), tmp_path, is_compressed=True, **arguments)
    assert path.name == "period-0.csv.gz"
    table = pyarrow.csv.read_csv(path)
    assert tuple(table.column_names) == LOG_COLUMNS
    assert table.num_rows % 48 == 0
    ended = table.filter(pyarrow.compute.equal(table["timeStepIndex"], 47))["isEnd"].to_pylist()
    assert set(ended) == {1}
    with pytest.raises(FileExistsError, match=r"must not exist, found a file: .*`force=True`"):
        log_impressions(FixedBidder(), tmp_path, is_compressed=True, **arguments)
    log_impressions(FixedBidder(), tmp_path, is_compressed=True, force=True, **arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_ticks": 24}, "`n_ticks` must be 48 in AuctionNet's schema, found 24"),
        ({"conversion_delay": 2.0}, "`conversion_delay` must be 0 to trace impressions, found 2.0"),
    ],
)
def test_markets_that_the_schema_cannot_hold(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    market = BatchMarket(MarketParams(n_impressions=480, **options))
    with pytest.raises(ValueError, match=message):
        ImpressionWriter(tmp_path / "x.csv", market, period=0)
    with pytest.raises(ValueError, match=r"must end in \.csv or \.csv\.gz, found 'x\.txt'"):
        ImpressionWriter(tmp_path / "x.txt", market, period=0)


def test_only_bids_on_conversions_fit_the_schema(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`task` must count conversions alone"):
        log_impressions(FixedBidder(), tmp_path, seeds=[1], task=TASKS["MaxClicks"])
    market = BatchMarket(MarketParams(n_impressions=480, funnel=Funnel()))
    market.reset([1], bases=np.ones((1, 48), np.int64))
    with pytest.raises(ValueError, match="all advertisers must bid on conversions"):
        trace_tick(market, np.ones(48))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_impression_log_leaves_nothing(tmp_path: Path) -> None:
    class Broken(FixedBidder):
        def act(self, view: Any) -> Any:
            if view.tick == 5:
                raise RuntimeError("the bidder broke")
            return super().act(view)

    with pytest.raises(RuntimeError, match="broke"):
        log_impressions(Broken(), tmp_path, seeds=[1], task=TASKS["TargetCPA"], params=MarketParams(n_impressions=480))
    assert list(tmp_path.iterdir()) == []
