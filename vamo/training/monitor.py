"""Signs of trouble in a run's history, each reported once with what to try.

The first three are the paper's failure signs (arXiv 2510.07760, limitations): all weight on one source, large
sources that pull against each other, a validation gradient too noisy to tell sources apart. A sign must last for
several records in which the weights were new, so that one odd batch says nothing. A monitor has no state beside
the records it has seen: a resumed run shows it the restored history again.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence

from vamo.training.history import Record

N_RECORDS = 3  # in a row, that a sign must last
FEW_SOURCES = 1.2  # effective ones
OPPOSING = 0.5  # the smaller of two opposite alignments, as a share of the larger
N_ERRORS = 2.0  # standard errors that an alignment must be away from 0 to count as pulling
SPIKE = 10.0  # gradient norm over the median of the records before
N_BEFORE_SPIKE = 5  # records that make a median


class Monitor:
    """Watches the records of one run.

    Args:
        targets, sources: Names, for the messages.
        refresh_every: Steps between two refreshes of the weights.
        is_weighted: Whether the weights follow alignments and a lone source is not what was asked for.
        is_accumulated: Whether they follow the alignments of all refreshes (`weighting.kind=integral` or `dga`).
        candidates: By target, which sources may have weight; None for all of every target. No sign is read from others.
    """

    def __init__(
        self,
        targets: Sequence[str],
        sources: Sequence[str],
        *,
        refresh_every: int,
        is_weighted: bool,
        is_accumulated: bool = False,
        candidates: Sequence[Sequence[bool]] | None = None,
    ) -> None:
        self._targets, self._sources = targets, sources
        self._candidates = [
            [i for i in range(len(sources)) if candidates is None or candidates[k][i]] for k in range(len(targets))
        ]
        self._remedy = (
            "a smaller `weighting.eta`, or a `weighting.floor` above 0"
            if is_accumulated
            else "a larger `weighting.temperature`, or `weighting.kind=entropy`, which adapts it to a target entropy"
        )
        self._refresh_every, self._is_weighted = refresh_every, is_weighted
        self._norms: list[float] = []
        self._lasting: dict[tuple[str, int], int] = {}  # records in a row, by sign and target
        self._reported: set[str] = set()
        self._refresh = -1  # the last one seen

    def observe(self, record: Record) -> list[str]:
        """The warnings that the record is the first to justify."""
        found = self._spike(record)
        refresh = (record.step - 1) // self._refresh_every
        if record.alignment is not None and len(self._sources) > 1 and refresh > self._refresh:
            self._refresh = refresh
            signs: dict[str, Callable[[Record, int], str]] = {"opposing": self._opposing, "noisy": self._noisy}
            if self._is_weighted:
                signs["collapse"] = self._collapse
            for name, sign in signs.items():
                found += self._lasting_sign(name, sign, record)
        return found

    def _lasting_sign(self, name: str, sign: Callable[[Record, int], str], record: Record) -> list[str]:
        """The first target's text that has been there for `N_RECORDS` records, with the number of the others."""
        texts = []
        for k in range(len(self._targets)):
            text = sign(record, k)
            self._lasting[name, k] = self._lasting.get((name, k), 0) + 1 if text else 0
            if self._lasting[name, k] >= N_RECORDS:
                texts.append(text)
        if not texts or name in self._reported:
            return []
        self._reported.add(name)
        others = f" (and {len(texts) - 1} more targets)" if len(texts) > 1 else ""
        return [f"step {record.step}: {texts[0]}{others}"]

    def _collapse(self, record: Record, k: int) -> str:
        n = record.effective_sources[k]
        if n >= FEW_SOURCES or len(self._candidates[k]) == 1:
            return ""
        row = record.weights[k]
        best = max(range(len(row)), key=row.__getitem__)
        return (
            f"target {self._targets[k]!r} learns from {n:.2f} effective sources, {row[best]:.0%} of the weight is on "
            f"{self._sources[best]!r}: try {self._remedy}"
        )

    def _opposing(self, record: Record, k: int) -> str:
        assert record.alignment is not None and record.alignment_error is not None
        alignment, errors = record.alignment[k], record.alignment_error[k]
        pulls = [
            (alignment[i], self._sources[i])
            for i in self._candidates[k]
            if abs(alignment[i]) > N_ERRORS * errors[i]  # False for an error that is nan or inf
        ]
        if not pulls:
            return ""
        (low, against), (high, along) = min(pulls), max(pulls)
        if not (low < 0 < high and min(-low, high) > OPPOSING * max(-low, high)):
            return ""
        return (
            f"target {self._targets[k]!r} has large sources that pull against each other, {along!r} (m = {high:.2g}) "
            f"and {against!r} ({low:.2g}): try a smaller `weighting.temperature`, training without {against!r} for "
            f"this target, or `weighting.scaling=cosine` where one of them is large by the size of its gradient only"
        )

    def _noisy(self, record: Record, k: int) -> str:
        assert record.alignment is not None and record.alignment_error is not None
        finite = [i for i in self._candidates[k] if math.isfinite(record.alignment_error[k][i])]
        if len(finite) < 2:
            return ""
        error = math.sqrt(statistics.fmean(record.alignment_error[k][i] ** 2 for i in finite))
        sd = statistics.stdev(record.alignment[k][i] for i in finite)
        if error <= sd:
            return ""
        return (
            f"target {self._targets[k]!r} has alignments whose standard error ({error:.2g}) exceeds their standard "
            f"deviation over the sources ({sd:.2g}), so that its weights follow noise: try more samples "
            f"(`weighting.validation_batch_size`, `weighting.alignment_batch_size`), `weighting.shrinkage=true`, or "
            f"`weighting.ema_decay=0.9`"
        )

    def _spike(self, record: Record) -> list[str]:
        before = self._norms[-N_BEFORE_SPIKE:]
        self._norms.append(record.grad_norm_max)
        usual = statistics.median(before) if len(before) == N_BEFORE_SPIKE else math.inf
        if "spike" in self._reported or not record.grad_norm_max > SPIKE * usual:
            return []
        self._reported.add("spike")
        return [
            f"step {record.step}: the gradient norm reached {record.grad_norm_max:.3g}, {SPIKE:g} times its usual "
            f"{usual:.3g}, and was clipped: try a smaller `train.learning_rate`, a longer `train.warmup_steps`, or a "
            f"smaller `train.clip_norm`"
        ]
