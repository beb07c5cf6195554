"""Offline learners: training, resuming, checkpoint, registry, command line, a known answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

pytest.importorskip("torchrl")
import torch

import agents
from agents import offline, rollout
from agents.labels.actions import ActionLabel
from agents.learning.checkpoint import CheckpointError, read
from agents.learning.checkpoint import write as write_checkpoint
from agents.learning.policy_bidder import PolicyBidder
from agents.offline import ALGORITHMS
from agents.offline.training import OfflineLearner
from auction_env import TASKS
from auction_env.data import TrajectoryData, write
from benchmarks.cli import main
from tests.agents.offline.cases import PARAMS, small_log

TASK = TASKS["TargetCPA"]
LABELS = get_args(ActionLabel)
TINY = ["steps=6", "batch_size=8", "hidden=[8]"]
MORE = {
    "cql": ["n_actions=2", "cloning_steps=2"],
    "mopo": ["model_steps=2", "n_members=2", "n_rollouts=8", "rollout_length=2", "rollout_every=2"],
}


def tiny(algo: str, *more: str) -> Any:
    return OfflineLearner(algo).settings(assignments=[*TINY, *MORE.get(algo, []), *more])


def train(algo: str, log: TrajectoryData, **arguments: Any) -> PolicyBidder:
    return OfflineLearner(algo).train(log, **({"task": TASK} | arguments)).bidder


@pytest.fixture(scope="module")
def log() -> TrajectoryData:
    return small_log()


@pytest.fixture(scope="module", params=ALGORITHMS)
def trained(request: pytest.FixtureRequest, log: TrajectoryData) -> PolicyBidder:
    return train(request.param, log, settings=tiny(request.param), seed=3)


def play(policy: agents.Bidder, n: int = 2) -> agents.Episodes:
    return rollout(policy, seeds=np.arange(n) + 50, advertisers=np.arange(n) + 3, task=TASK, params=PARAMS)


def weights(one: PolicyBidder) -> dict[str, Any]:
    return {name: tensor.numpy() for name, tensor in one.policy.state_dict().items()}


def test_training_is_a_function_of_the_seed_and_of_nothing_else(trained: PolicyBidder, log: TrajectoryData) -> None:
    torch.manual_seed(123)
    before = torch.random.get_rng_state()
    again = train(trained.kind, log, settings=trained.settings, seed=3)
    assert torch.equal(torch.random.get_rng_state(), before)  # the caller's generator is left alone
    other = train(trained.kind, log, settings=trained.settings, seed=4)
    for name, values in weights(trained).items():
        np.testing.assert_array_equal(weights(again)[name], values)
    assert any(not np.array_equal(weights(other)[name], values) for name, values in weights(trained).items())


def test_a_file_of_another_decision_problem_is_refused(trained: PolicyBidder, tmp_path: Path) -> None:
    path, algo = tmp_path / "agent.safetensors", trained.kind
    agents.save(path, trained)
    loaded = agents.make(algo, path=path)
    np.testing.assert_array_equal(play(loaded).ticks.multiplier, play(trained).ticks.multiplier)
    tensors, record = read(path, algo)
    own, settings = record["own"], record["settings"]
    changes: list[tuple[dict[str, Any], str]] = [
        ({"own": own | {"observation": ["time_left"]}}, "must be for the observation"),
        ({"own": own | {"action": "bid"}}, "must be for the action"),
        ({"settings": {**settings, "hidden": [9]}}, "must hold a complete agent"),
        ({"settings": {}}, "`steps` is missing"),
    ]
    for change, message in changes:
        write_checkpoint(path, algo, tensors, record | change)
        with pytest.raises(CheckpointError, match=message):
            agents.load(path)


def test_bids_stay_in_the_range_of_the_log(trained: PolicyBidder, log: TrajectoryData) -> None:
    read = offline.read_transitions(log, TASK)
    played = play(trained, 4)
    ratio = np.log(played.ticks.multiplier / TASK.unit_worth(played.targets))
    low, high = trained.policy.bounds.tolist()
    assert low - 1e-9 <= ratio.min() and ratio.max() <= high + 1e-9
    spread = np.ptp(read.action)
    assert read.action.min() - 0.1 * spread < low < high < read.action.max() + 0.1 * spread


def test_bad_input_is_refused(log: TrajectoryData, trained: PolicyBidder) -> None:
    algo = trained.kind
    with pytest.raises(ValueError, match="`data` must hold at least 8 trajectories, found 7"):
        train(algo, log.select(np.arange(7)), settings=tiny(algo))
    with pytest.raises(ValueError, match=f"`settings` must be those of '{'bc' if algo != 'bc' else 'iql'}'"):
        train("bc" if algo != "bc" else "iql", log, settings=trained.settings)
    with pytest.raises(ValueError, match=r"trained for task 'TargetCPA'.*wants_clicks"):
        rollout(trained, seeds=[1], advertisers=[1], task=TASKS["MaxClicks"], params=PARAMS)
    if algo != "bc":
        return
    with pytest.raises(ValueError, match="`seed` must not be negative, found -1"):
        train("bc", log, seed=-1)
    with pytest.raises(ValueError, match="the losses of 'td3_bc' must stay finite"):
        train("td3_bc", log, settings=tiny("td3_bc", "learning_rate=1e30"))


@pytest.mark.parametrize(
    ("algo", "assignment", "message"),
    [
        ("cql", "conservatsm=1", "the nearest is `conservatism`"),
        ("cql", "n_actions=1.5", "`n_actions` must be of type int, found 1.5"),
        ("iql", "expectile=1.0", "`expectile` must lie between 0 and 1, found 1.0"),
        ("iql", "hidden=[]", "`hidden` must be the sizes of at least one layer"),
        ("td3_bc", "policy_delay=0", "`policy_delay` must be positive, found 0"),
        ("td3_bc", "discount=1.5", "`discount` must be above 0 and at most 1, found 1.5"),
        ("mopo", "n_step=2", "`n_step` must be 1, as the model predicts one tick"),
        ("mopo", "model_steps=9999", "`model_steps` must be below `steps`"),
        ("bc", "signal='bid'", "`signal` must be 'expected' or 'sampled'"),
        ("bc", "steps", "a setting must be given as `key=value` or `section.key=value`, found 'steps'"),
    ],
)
def test_bad_settings_are_refused(algo: str, assignment: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OfflineLearner(algo).settings(assignments=[assignment])


def test_a_file_of_settings_lies_over_the_packaged_ones(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("steps = 9\nhidden = [3, 4]\n", encoding="utf-8")
    found = OfflineLearner("iql").settings(path, ["steps=10"])
    assert (found.steps, found.hidden) == (10, (3, 4))
    assert type(found).from_dict(found.to_dict()) == found


def test_command_trains_logs_and_keeps_files(
    log: TrajectoryData, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out, events = tmp_path / "log", tmp_path / "deep" / "iql.safetensors", tmp_path / "events"
    write(data, [log])
    arguments = ["train", "--agent", "iql", "--data", str(data), "--task", "MaxClicks", "--out", str(out)]
    arguments += ["--set", "steps=3", "--set", "batch_size=8", "--set", "hidden=[8]", "--log-dir", str(events)]
    main(arguments)
    assert agents.make("iql", path=out).task == TASKS["MaxClicks"]  # whatever the log was made for
    assert list(events.glob("events*")) and not out.with_name(f"{out.name}.run").exists()
    assert "last critic" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([*arguments, "--force", "--set", "expectle=0.7"])
    assert "the nearest is `expectile`" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*arguments, "--force", "--impressions", "9"])
    assert "`--impressions` must not be given for agent 'iql'" in capsys.readouterr().err


def test_bcq_beats_its_logs_where_the_optimum_is_known() -> None:
    from benchmarks.studies.known_optimum.offline import known_answer_log, logging_policies, optimum, share_of_optimum

    best = optimum()
    settings = OfflineLearner("bcq").settings(assignments=["steps=150"])
    learned = train("bcq", known_answer_log(), task=TASKS["MaxConversions"], settings=settings)
    logged = max(share_of_optimum(policy, best) for policy in logging_policies().values())
    assert share_of_optimum(learned, best) > logged + 0.02  # 0.926 against 0.847; another CPU rounds otherwise


@pytest.mark.exhaustive
def test_cql_comes_near_the_known_optimum() -> None:
    """TD3+BC and IQL, which take as long, are checked by `benchmarks.studies.known_optimum.offline`."""
    from benchmarks.studies.known_optimum.offline import known_answer_log, share_of_optimum

    assert share_of_optimum(train("cql", known_answer_log(), task=TASKS["MaxConversions"])) > 0.94


def test_cloning_learns_hindsight_optimal_actions(log: TrajectoryData) -> None:
    """Their mean is another one than that of the logged actions, and the range of the policy is theirs."""
    more = ("steps=150", "batch_size=64", "learning_rate=0.01")
    logged, best = (train("bc", log, settings=tiny("bc", *more, f"action_label={label}")) for label in LABELS)
    assert logged.policy.bounds.tolist() != best.policy.bounds.tolist()
    read = offline.read_transitions(log, TASK, action_label="hindsight")
    errors = [
        float(np.mean((bidder.policy(torch.from_numpy(read.observation)).detach().numpy() - read.action) ** 2))
        for bidder in (logged, best)
    ]
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize("algo", [name for name in ALGORITHMS if name != "bc"])
def test_who_learns_from_rewards_learns_no_other_actions_than_the_logged_ones(algo: str) -> None:
    with pytest.raises(ValueError, match="`action_label` must be 'logged' for an algorithm that learns from rewards"):
        tiny(algo, "action_label=hindsight")


def test_a_policy_bids_within_its_share_of_the_logged_actions(log: TrajectoryData) -> None:
    actions = offline.read_transitions(log, TASK).action
    ranges = []
    for share in (0.5, 1.0):
        bidder = train("bc", log, settings=tiny("bc", f"action_share={share}"))
        low, high = np.quantile(actions, (0.5 - share / 2, 0.5 + share / 2))
        margin = 0.05 * (high - low)
        np.testing.assert_allclose(bidder.policy.bounds, (low - margin, high + margin))
        ranges.append(high - low)
    assert ranges[0] < 0.9 * ranges[1]
    with pytest.raises(ValueError, match="`action_share` must be above 0 and at most 1, found 0"):
        tiny("bc", "action_share=0.0")
