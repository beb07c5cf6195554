"""The choice between one thread and all, with a clock of the test's own."""

from __future__ import annotations

import math

import pytest

from auction_env.kernels.running import threads
from auction_env.kernels.running.threads import BLOCKS_PER_THREAD, ThreadChoice, run_shared


class Machine:
    """Four threads, and a clock that moves when calls are made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.n_threads = 0.0, 4
        monkeypatch.setattr(threads, "perf_counter", lambda: self.now)
        monkeypatch.setattr(threads, "get_num_threads", lambda: self.n_threads)
        monkeypatch.setattr(threads, "set_num_threads", lambda n: setattr(self, "n_threads", n))

    def calls(self, choice: ThreadChoice, n: int, *, serial: float, parallel: float) -> list[int]:
        """The threads of n calls that take so many seconds."""
        found = []
        for _ in range(n):
            with choice.of(100) as n_threads:
                self.now += parallel if n_threads > 1 else serial
            found.append(n_threads)
        return found


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_threads_are_used_where_they_pay(machine: Machine) -> None:
    found = machine.calls(ThreadChoice(), 2000, serial=2.0, parallel=1.0)
    assert found[:16] == [4] * 16
    assert 0 < found.count(1) < 40  # trials, ever rarer
    assert found[-1] == 4


def test_a_busy_machine_is_noticed_and_so_is_its_end(machine: Machine) -> None:
    choice = ThreadChoice()
    busy = machine.calls(choice, 2000, serial=1.0, parallel=10.0)
    assert set(busy[22:]) == {1, 4}  # 16 calls and a trial of 6
    assert busy[22:].count(4) < 40
    idle = machine.calls(choice, 2000, serial=2.0, parallel=1.0)
    assert idle[1100:].count(1) < 40


def test_a_small_call_has_one_thread_and_a_middling_one_has_some(machine: Machine) -> None:
    choice = ThreadChoice()
    with choice.of(2 * BLOCKS_PER_THREAD - 1) as n_threads:
        assert n_threads == 1 and machine.n_threads == 4
    with choice.of(2 * BLOCKS_PER_THREAD) as n_threads:
        assert n_threads == machine.n_threads == 2
    assert machine.n_threads == 4


def test_a_call_that_fails_leaves_the_threads_and_the_trials_alone(machine: Machine) -> None:
    choice = ThreadChoice()
    for _ in range(100):
        with pytest.raises(ZeroDivisionError), choice.of(2 * BLOCKS_PER_THREAD):
            1 / 0  # noqa: B018  an error
    assert machine.n_threads == 4
    assert machine.calls(choice, 16, serial=0.0, parallel=1.0) == [4] * 16


def test_a_fixed_choice_tries_nothing(machine: Machine) -> None:
    choice = ThreadChoice()
    choice.is_fixed = True
    assert machine.calls(choice, 100, serial=0.0, parallel=1.0) == [4] * 100


@pytest.mark.parametrize(
    ("n", "n_blocks", "n_parts"), [(50, 100, 4), (3, 100, 3), (50, 24, 3), (50, 9, 1), (0, 100, 1)]
)
def test_work_is_shared_without_gaps_and_nothing_gets_no_thread(
    machine: Machine, n: int, n_blocks: int, n_parts: int
) -> None:
    done: list[tuple[int, int]] = []
    run_shared(ThreadChoice(), lambda first, stop, into: into.append((first, stop)), n, n_blocks, (done,))
    assert len(done) == n_parts
    assert [i for first, stop in sorted(done) for i in range(first, stop)] == list(range(n))


def test_an_error_of_a_thread_is_raised(machine: Machine) -> None:
    def fails_at_the_end(first: int, stop: int) -> None:
        if stop == 50:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_shared(ThreadChoice(), fails_at_the_end, 50, 100, ())


def test_a_process_that_may_start_no_threads_starts_none(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_is_alone", True)
    assert not threads.may_start_threads()
    assert machine.calls(ThreadChoice(), 3, serial=1.0, parallel=1.0) == [1] * 3


@pytest.mark.parametrize(
    ("n_threads", "is_alone", "fewest"), [(1, False, math.inf), (2, False, threads.FEWEST), (2, True, math.inf)]
)
def test_a_call_may_be_shared_where_threads_may_start(
    monkeypatch: pytest.MonkeyPatch, n_threads: int, is_alone: bool, fewest: float
) -> None:
    monkeypatch.setattr(threads, "get_num_threads", lambda: n_threads)
    monkeypatch.setattr(threads, "_is_alone", is_alone)
    assert threads.fewest_shared() == fewest
