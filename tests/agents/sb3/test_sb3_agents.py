"""Agents of Stable-Baselines3: bidder, reward, checkpoint, training, registry, command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

pytest.importorskip("stable_baselines3")
pytest.importorskip("sb3_contrib")
import agents
from agents import rollout
from agents.learning.checkpoint import CheckpointError, read, write
from agents.learning.learner import MarketExperience
from agents.sb3.reward import LearningReward
from agents.sb3.settings import ALGORITHMS, RewardSettings
from agents.sb3.training import Sb3Learner, Sb3Result, TrainingJob, make_model
from auction_env import TASKS, MarketParams, auctionnet_population
from auction_env.envs.single import BiddingEnv
from benchmarks.cli import main

PARAMS = MarketParams(n_impressions=300, n_ticks=6)
TINY = ["run.scaling_episodes=4", "run.validation_episodes=4", "run.validate_every=24", "policy.net_arch=[8]"]
ON_POLICY = [*TINY, "algorithm.n_steps=6", "algorithm.n_epochs=1"]
OFF_POLICY = [*TINY, "algorithm.learning_starts=12", "algorithm.batch_size=8", "algorithm.buffer_size=40"]
OFF_POLICY += ["algorithm.gradient_steps=1"]


def tiny(algo: str, *more: str, steps: int = 48) -> Any:
    own = [*(ON_POLICY if "ppo" in algo else OFF_POLICY), f"run.steps={steps}", "run.n_envs=4", *more]
    return Sb3Learner(algo).settings(assignments=own)


def job(algo: str, *more: str, steps: int = 48, task: str = "TargetCPA") -> TrainingJob:
    return TrainingJob(
        settings=tiny(algo, *more, steps=steps), task=TASKS[task], experience=MarketExperience(params=PARAMS)
    )


def train(job: TrainingJob, **arguments: Any) -> Sb3Result:
    return Sb3Learner(job.settings.name).train(job.experience, task=job.task, settings=job.settings, **arguments)


@pytest.fixture(scope="module", params=ALGORITHMS)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Sb3Result]:
    path = tmp_path_factory.mktemp("sb3") / f"{request.param}.safetensors"
    return path, train(job(request.param), out=path)


def play(bidder: agents.Bidder, n: int = 1) -> agents.Episodes:
    seeds = np.arange(n) + 50
    return rollout(bidder, seeds=seeds, advertisers=np.arange(n) + 3, task=TASKS["TargetCPA"], params=PARAMS)


def test_a_rollout_equals_the_environment(trained: tuple[Path, Sb3Result]) -> None:
    bidder = trained[1].bidder
    env = BiddingEnv(task="TargetCPA", params=PARAMS, action_kind=bidder.action_kind)
    observation, _ = env.reset(options={"episode_seed": 50, "advertiser": 3})
    state: Any = None
    multipliers, costs = [], []
    for t in range(6):
        action, state = bidder.policy.predict(
            observation[None], state=state, episode_start=np.array([t == 0]), deterministic=True
        )
        observation, _, _, _, info = env.step(action[0])
        multipliers.append(info["multiplier"])
        costs.append(info["cost"])
    played = play(bidder)
    np.testing.assert_array_equal(played.ticks.multiplier[:, 0], multipliers)
    np.testing.assert_array_equal(played.ticks.cost[:, 0], costs)
    assert len(set(multipliers)) > 1
    if bidder.settings.name == "recurrent_ppo":
        assert state is not None and np.abs(state[0]).max() > 0


def test_checkpoint_round_trip_and_registry(trained: tuple[Path, Sb3Result]) -> None:
    path, result = trained
    algo = result.bidder.settings.name
    entry = agents.registry.get(algo)
    assert entry.kind == "online"
    loaded = agents.make(algo, path=path)
    assert loaded.name == algo and agents.make(algo, path=path, name="mine").name == "mine"
    np.testing.assert_array_equal(play(loaded, 3).ticks.multiplier, play(result.bidder, 3).ticks.multiplier)
    assert not path.with_name(f"{path.name}.run").exists()
    other = "sac" if algo != "sac" else "td3"
    with pytest.raises(CheckpointError, match=f"must be of kind '{other}', found '{algo}'"):
        agents.make(other, path=path)


@pytest.mark.parametrize(("signal", "swing"), [("expected", 0.0), ("sampled", 0.0), ("expected", 0.4)])
def test_the_return_is_the_score_over_what_the_budget_buys(signal: str, swing: float) -> None:
    population = replace(auctionnet_population(), budget_swing=swing, cpa_swing=swing)
    envs = gym.make_vec(
        "auction_env/Bidding-v0", num_envs=3, autoreset_mode="SameStep", task="TargetCPA", params=PARAMS,
        population=population,
    )  # fmt: skip
    learning = LearningReward(envs, RewardSettings(signal=signal, scale=2.0))
    options = {"episode_seed": np.array([7, 8, 9]), "advertiser": np.array([0, 1, 2])}
    learning.reset(seed=0, options=options)
    total = np.zeros(3)
    for _ in range(6):
        _, reward, _, _, infos = learning.step(np.full((3, 1), 0.9, np.float32))
        total += reward
    played = rollout(
        agents.FixedBidder(5.0 ** float(np.float32(0.9))),
        seeds=[7, 8, 9], advertisers=[0, 1, 2], task=TASKS["TargetCPA"], params=PARAMS, population=population,
    )  # fmt: skip
    score = played.score(expected=signal == "expected")
    np.testing.assert_allclose(total, 2 * score * played.targets.cpa / played.targets.budget, rtol=1e-12)
    np.testing.assert_allclose(infos["final_info"]["return"], total, rtol=1e-12)
    if signal == "expected":
        assert np.any(score < played.objective(expected=True))  # the limit is broken, so that the last term counts


@pytest.mark.parametrize("discount", [1.0, 0.9])
def test_shaping_adds_a_constant_to_the_discounted_return(discount: float) -> None:
    added, leads = np.zeros(3), []
    envs = [
        LearningReward(
            gym.make_vec("auction_env/Bidding-v0", num_envs=3, autoreset_mode="SameStep", params=PARAMS),
            RewardSettings(scale=10.0, shaping=weight),
            discount=discount,
        )
        for weight in (0.5, 0.0)
    ]
    options = {"episode_seed": np.array([7, 8, 9]), "advertiser": np.array([0, 1, 2])}
    for env in envs:
        env.reset(seed=0, options=options)
    for t in range(12):  # two episodes: the second begins with a whole budget again
        shaped, plain = (env.step(np.array([[0.9], [0.0], [-0.9]], np.float32)) for env in envs)
        change = shaped[1] - plain[1]
        added += discount ** (t % 6) * change
        if t % 6 == 0:
            budget_left, time_left = shaped[0][:, 1], 5 / 6
            np.testing.assert_allclose(change, 5 * (discount * np.minimum(budget_left, time_left) - 1), rtol=1e-5)
            leads.append(budget_left < time_left)
        if t % 6 == 5:
            np.testing.assert_allclose(added, -5.0, rtol=1e-9)
            np.testing.assert_array_equal(shaped[4]["final_info"]["return"], plain[4]["final_info"]["return"])
            added[:] = 0
    assert np.any(leads) and not np.all(leads)  # both arms of the minimum


def test_the_normalisation_is_measured_and_part_of_the_weights() -> None:
    model = make_model(job("ppo"))
    state = model.policy.state_dict()
    mean, std = (state[f"features_extractor.{name}"].numpy() for name in ("mean", "std"))
    assert mean.shape == std.shape == (31,) and np.all(std > 0)
    assert mean[0] == pytest.approx(np.mean(np.arange(1, 7) / 6), rel=1e-5)  # time_left
    assert np.all(std[17:21] == 1)  # what the objective counts never changes


def test_a_funnel_task_is_learned_in_a_market_with_a_funnel(tmp_path: Path) -> None:
    clicks = TASKS["MaxClicks"]
    with pytest.raises(ValueError, match="clicks"):
        TrainingJob(settings=tiny("ppo"), task=clicks, experience=MarketExperience(params=PARAMS))
    params = MarketParams.for_task(clicks, n_impressions=300, n_ticks=6)
    market = MarketExperience(params=params)
    result = train(TrainingJob(settings=tiny("ppo", steps=24), task=clicks, experience=market))
    with pytest.raises(ValueError, match=r"trained for task 'MaxClicks'.*wants_conversions"):
        play(result.bidder)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("algorithm.learning_rat=1", "the nearest is `algorithm.learning_rate`"),
        ("polici.net_arch=[8]", "the nearest is `policy`"),
        ("reward.signal='bid'", "`signal` must be 'expected' or 'sampled'"),
        ("run.validate_every=0", "`validate_every` must be positive, found 0"),
        ("run.validate_every=1.5", "`run.validate_every` must be of type int"),
        ("run.action_noise=0.1", "for off-policy algorithms"),
        ("reward.shaping=-1", "`shaping` must be not negative, found -1.0"),
        ("learning_rate", "a setting must be given as `key=value`"),
        ("algorithm.seed=3", "`algorithm.seed` is no setting"),
    ],
)
def test_bad_settings_are_refused(assignment: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sb3Learner("ppo").settings(assignments=[assignment])


def test_unknown_action_kind_and_argument() -> None:
    with pytest.raises(ValueError, match="`action_kind` must be"):
        job("ppo", "action.kind=logs")
    with pytest.raises(ValueError, match=r"`algorithm.n_steps` must be of type int, found 'many'"):
        job("ppo", "algorithm.n_steps=many")
    with pytest.raises(ValueError, match=r"`run.steps` must be above `algorithm.learning_starts` = 12, found 12"):
        job("sac", steps=12)
    with pytest.raises(ValueError, match="settings that sac takes"):
        make_model(job("sac", "algorithm.ent_coef=much"))


def test_foreign_and_changed_checkpoints_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "agent.safetensors"
    with pytest.raises(FileNotFoundError, match="must be a file"):
        agents.make("ppo", path=path)
    train(job("ppo", steps=24), out=path)
    tensors, record = read(path, "ppo")
    own = record["own"]
    action = own["action"]
    changes: list[tuple[dict[str, Any], str]] = [
        ({"observation": ["time_left"]}, "must be for the observation"),
        ({"action": {"kind": "two_coefficient", "reference": 1.0, "max_ratio": 5.0}}, "must hold a complete agent"),
        ({"action": {**action, "kind": "unknown"}}, "must hold a complete agent"),
    ]
    for change, message in changes:
        write(path, "ppo", tensors, record | {"own": own | change})
        with pytest.raises(CheckpointError, match=message):
            agents.make("ppo", path=path)
    write(path, "sac", tensors, record)
    with pytest.raises(CheckpointError, match="must be of kind 'ppo', found 'sac'"):
        agents.make("ppo", path=path)


@pytest.mark.parametrize("kind", ["relative", "two_coefficient"])
def test_other_action_kinds_are_stored(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "agent.safetensors"
    result = train(job("ppo", f"action.kind={kind}", steps=24), out=path)
    loaded = agents.load(path)
    assert loaded.action_kind == result.bidder.action_kind
    np.testing.assert_array_equal(play(loaded).ticks.multiplier, play(result.bidder).ticks.multiplier)


def test_command_trains_logs_and_keeps_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, logs = tmp_path / "deep" / "ppo.safetensors", tmp_path / "logs"
    arguments = ["train", "--agent", "ppo", "--task", "MaxConversions"]
    arguments += ["--set", "run.steps=96", "--set", "run.n_envs=2"]
    arguments += ["--impressions", "480", "--out", str(out), "--log-dir", str(logs)]
    arguments += [part for assignment in TINY for part in ("--set", assignment)]
    main(arguments)
    assert agents.make("ppo", path=out)
    assert list(logs.glob("events*"))
    assert "best share" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([*arguments, "--force", "--task", "MaxConversion"])
    assert "`task` must be" in capsys.readouterr().err


def test_ppo_finds_the_known_optimum() -> None:
    from benchmarks.studies.known_optimum.sb3 import share_of_optimum, trained

    result = trained("ppo")
    before, after = agents.FixedBidder(), result
    # seeds 0, 1, 2 of the training reached 0.957, 0.960 and 0.945, the constant that it starts from 0.844
    assert share_of_optimum(after) > 0.93 > 0.87 > share_of_optimum(before)
