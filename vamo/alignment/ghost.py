"""Alignments as ghost dot products: one backward pass over validation and training samples together.

The gradient of a layer's parameters is a sum over tokens of products of the layer's input and the gradient of
its output. Both are at hand in a backward pass, so that <g_k, g_s> of a sample s needs no gradient per sample:
for a linear layer it is sum_t d_t . (G_k x_t), with G_k the validation gradient of the layer's weight, input
x_t and output gradient d_t of token t ("Data Shapley in One Training Run", arXiv 2406.11011). The gradients of
one layer exist at a time, for the targets of one refresh.

Linear, embedding and layer-norm parameters are taken this way. Which of them really are is checked once, at
the first call, against automatic differentiation; whatever fails the check, and parameters of any other
layer, get their share of the inner product from forward mode. Nothing is left out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Generic, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from vamo.alignment.estimators import (
    Alignment,
    BatchT,
    ForwardMode,
    GroupLosses,
    Groups,
    Parameters,
    n_groups_of,
    precondition,
)

logger = logging.getLogger(__name__)

_CHECK_NOISE = 0.01  # parameters are moved for the check, so that no gradient is 0 for being at its start
_CHECK_TOLERANCE = 1e-3  # relative; coverage that is wrong is wrong by far more
_CHECK_TOLERANCE_LOW = 0.1  # where the model computes in bfloat16 or float16
_PASS_BYTES = {"cpu": 2**27, "cuda": 2**32}
"""By kind of device, what layers hold of the training samples of a pass, of one target at least: a pass of a small
model takes milliseconds whatever its size, and one of a large model shall hold little."""


class _Rule(Protocol):
    """How the parameters of one kind of layer follow from inputs x and output gradients d.

    B batches of t tokens: x (B, t, ...), d (B, t, D).
    """

    def gradient(self, layer: nn.Module, x: Tensor, d: Tensor) -> dict[str, Tensor]:
        """Gradients (B, *shape) by the parameter's name in the layer, summed over tokens."""
        ...

    def project(self, layer: nn.Module, x: Tensor, direction: Parameters) -> Tensor:
        """p (B, t, D) such that p . d is the inner product of a token's gradient with a direction (B, *shape).

        It is what the layer would add to its output for a step of its parameters along the direction.
        """
        ...


class _Linear:
    def gradient(self, layer: nn.Module, x: Tensor, d: Tensor) -> dict[str, Tensor]:
        return {"weight": d.mT @ x} | _bias_gradient(layer, d)

    def project(self, layer: nn.Module, x: Tensor, direction: Parameters) -> Tensor:
        if "bias" not in direction:
            return x @ direction["weight"].mT  # (B, t, I) -> (B, t, D)
        return torch.baddbmm(direction["bias"][:, None], x, direction["weight"].mT)


class _LayerNorm:
    def gradient(self, layer: nn.Module, x: Tensor, d: Tensor) -> dict[str, Tensor]:
        return {"weight": (self._normal(layer, x) * d).sum(dim=1)} | _bias_gradient(layer, d)

    def project(self, layer: nn.Module, x: Tensor, direction: Parameters) -> Tensor:
        projected = self._normal(layer, x).mul_(direction["weight"][:, None])
        return projected.add_(direction["bias"][:, None]) if "bias" in direction else projected

    @staticmethod
    def _normal(layer: nn.Module, x: Tensor) -> Tensor:
        assert isinstance(layer, nn.LayerNorm)
        return functional.layer_norm(x, layer.normalized_shape, eps=layer.eps)


class _Embedding:
    def gradient(self, layer: nn.Module, x: Tensor, d: Tensor) -> dict[str, Tensor]:
        assert isinstance(layer, nn.Embedding)
        rows = d.new_zeros(len(d), layer.num_embeddings, d.shape[2])
        return {"weight": rows.scatter_add_(1, x[..., None].expand_as(d), d)}

    def project(self, layer: nn.Module, x: Tensor, direction: Parameters) -> Tensor:
        index = x[..., None].expand(*x.shape, direction["weight"].shape[2])
        return direction["weight"].gather(1, index)  # (B, V, D) -> (B, t, D)


def _bias_gradient(layer: nn.Module, d: Tensor) -> dict[str, Tensor]:
    return {} if getattr(layer, "bias", None) is None else {"bias": d.sum(dim=1)}


_RULES: dict[type[nn.Module], _Rule] = {
    nn.Linear: _Linear(),
    nn.LayerNorm: _LayerNorm(),
    nn.Embedding: _Embedding(),
}


class _Call:
    """One call of a layer: its input, the run it belongs to, and, once it has arrived, its output's gradient."""

    def __init__(self, run: int, x: Tensor) -> None:
        self.run = run
        self.x: Tensor = x
        self.d: Tensor | None = None

    def release(self) -> None:
        """Lets go of the tensors: the graph's hooks hold the call itself until the backward pass is over."""
        del self.x
        self.d = None


class _Tap:
    """Follows the calls of layers through forward passes and the backward pass.

    Args:
        layers: By name.
        consume: Gets a layer's name and its calls as soon as all their gradients have arrived, which lets
            go of them before the backward pass goes on.
    """

    def __init__(self, layers: Mapping[str, nn.Module], consume: Callable[[str, list[_Call]], None]) -> None:
        self._layers, self._consume = layers, consume
        self._calls: dict[str, list[_Call]] = {}
        self._leaves: list[Tensor] = []
        self.n_bytes = 0  # of inputs and outputs
        self.run = 0  # what forward passes are noted under

    @contextmanager
    def listen(self) -> Iterator[None]:
        """Notes calls within the context."""
        handles = [
            layer.register_forward_hook(partial(self._note, name), with_kwargs=True)
            for name, layer in self._layers.items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def backward(self, loss: Tensor) -> None:
        """Output gradients of all calls; parameters, which need no gradient here, cost nothing."""
        if not self._leaves:
            return
        torch.autograd.grad(loss, self._leaves, allow_unused=True)
        for name in list(self._calls):  # those with an output that the loss does not depend on
            self._finish(name)

    def _note(
        self, name: str, layer: nn.Module, args: tuple[Tensor, ...], named: dict[str, Tensor], output: Tensor
    ) -> None:
        if not output.requires_grad:
            self._leaves.append(output.requires_grad_())
        call = _Call(self.run, (args[0] if args else named["input"]).detach())
        self.n_bytes += call.x.nbytes + output.nbytes
        self._calls.setdefault(name, []).append(call)
        output.register_hook(partial(self._arrived, name, call))  # type: ignore[no-untyped-call]

    def _arrived(self, name: str, call: _Call, d: Tensor) -> None:
        call.d = d
        if all(other.d is not None for other in self._calls[name]):
            self._finish(name)

    def _finish(self, name: str) -> None:
        calls = self._calls.pop(name)
        if arrived := [call for call in calls if call.d is not None]:
            self._consume(name, arrived)
        for call in calls:
            call.release()


def _tokens(name: str, calls: list[_Call], run: int, n: int) -> tuple[Tensor, Tensor] | None:
    """Inputs (n, t, ...) and output gradients (n, t, D) of a run's n samples, or None where it made no call.

    Raises:
        ValueError: The first axis of a call is not that of the samples.
    """
    inputs, gradients = [], []
    for call in calls:
        if call.run != run:
            continue
        assert call.d is not None
        if call.d.shape[0] != n:
            raise ValueError(f"the first axis of layer {name!r} must be that of {n} samples, found {call.d.shape[0]}")
        inner = call.x.shape[call.d.ndim - 1 :]  # (D_in,) of a linear layer, () of an embedding
        x = call.x.to(call.d.dtype) if call.x.is_floating_point() else call.x  # mixed precision casts within
        inputs.append(x.reshape(n, -1, *inner))
        gradients.append(call.d.reshape(n, -1, call.d.shape[-1]))
    if not inputs:
        return None
    if len(inputs) == 1:  # the usual case, without a copy
        return inputs[0], gradients[0]
    return torch.cat(inputs, dim=1), torch.cat(gradients, dim=1)


class Ghost(Generic[BatchT]):
    """The estimator of this module; see `vamo.alignment.estimators.Estimator`.

    Args:
        losses: Losses of a batch's groups, computed by calling the layers of `model`.
        model: Holds the parameters.
        groups: Cuts groups out of a batch.
    """

    def __init__(self, losses: GroupLosses[BatchT], model: nn.Module, groups: Groups[BatchT]) -> None:
        self.losses, self.model, self._groups = losses, model, groups
        self._forward_mode: ForwardMode[BatchT] = ForwardMode(losses, model, groups)
        self._layers: dict[str, nn.Module] | None = None  # those covered; None until the check
        self._target_bytes = 1  # that layers hold of the samples of one target; known after the check

    def __call__(
        self,
        training: BatchT,
        validation: BatchT,
        *,
        preconditioner: Parameters | None = None,
        norms: bool = False,
    ) -> Alignment:
        """See `vamo.alignment.estimators.Estimator`; with parameters that need forward mode `norms` is a ValueError."""
        if self._layers is None:
            n_sources = n_groups_of(training) // n_groups_of(validation)
            self._layers = self._check(self._groups(training, 0, n_sources))  # of one target
            if self.uncovered:
                logger.info("forward mode takes care of %s", ", ".join(self.uncovered))
        device = next(iter(self._forward_mode.parameters.values())).device.type
        n_at_once = max(_PASS_BYTES.get(device, _PASS_BYTES["cpu"]) // self._target_bytes, 1)
        parts = [
            self._layer_by_layer(*part, preconditioner, norms)
            for part in self._forward_mode.parts(training, validation, n_at_once)
        ]
        per_sample = torch.cat([part.per_sample for part in parts])
        if rest := {name: self._forward_mode.parameters[name].detach() for name in self.uncovered}:
            other = self._forward_mode.along(rest, training, validation, preconditioner=preconditioner, norms=norms)
            per_sample = per_sample + other.per_sample
        return Alignment(
            per_sample, torch.cat([part.norm for part in parts if part.norm is not None]) if norms else None
        )

    def _layer_by_layer(
        self, training: BatchT, validation: BatchT, preconditioner: Parameters | None, norms: bool
    ) -> Alignment:
        """The contribution of the covered layers."""
        assert self._layers is not None
        parameters = self._forward_mode.detached()
        n_targets, n_groups = n_groups_of(validation), n_groups_of(training)
        work = _Dots(self._layers, n_targets, n_groups // n_targets, preconditioner, norms)
        tap = _Tap(self._layers, work)
        with tap.listen():
            held_out = self.losses(parameters, validation)
            work.n_validation = held_out.numel()
            tap.run = 1
            own = self.losses(parameters, training)
            work.n_training = own.numel()
        tap.backward(held_out.mean(dim=1).sum() + own.sum())
        return work.alignment(own)

    @property
    def uncovered(self) -> list[str]:
        """Names of the parameters that forward mode takes care of, known after the first call."""
        covered = {name for name, _ in _parameters_of(self._layers or {})}
        return [name for name in self._forward_mode.parameters if name not in covered]

    def _check(self, batch: BatchT) -> dict[str, nn.Module]:
        """The layers whose parameters are covered: found by comparing a weighted sum of sample gradients of one target.

        Random weights tell samples apart, so that a layer that mixes them, or has them on another axis,
        fails. So does one whose parameters are also used elsewhere.
        """
        generator = torch.Generator().manual_seed(0)
        parameters = {
            name: p + _CHECK_NOISE * torch.randn(p.shape, generator=generator).to(p)
            for name, p in self._forward_mode.detached().items()
        }
        layers = {name: layer for name, layer in self.model.named_modules() if _has_rule(layer)}
        found: dict[str, Tensor] = {}

        def add_up(name: str, calls: list[_Call]) -> None:
            try:
                tokens = _tokens(name, calls, 0, weights.numel())
            except ValueError:
                return
            assert tokens is not None
            x, d = tokens
            d = d * weights.to(d.dtype)[:, None, None]
            joined = x.flatten(0, 1)[None], d.flatten(0, 1)[None]
            for key, g in _RULES[type(layers[name])].gradient(layers[name], *joined).items():
                found[_path(name, key)] = g[0]

        tap = _Tap(layers, add_up)
        with tap.listen():
            losses = self.losses(parameters, batch)
        weights = torch.rand(losses.numel(), generator=generator).to(losses)
        self._target_bytes = max(tap.n_bytes, 1)
        tap.backward(losses.sum())
        leaves = {name: p.detach().requires_grad_() for name, p in parameters.items()}
        loss = (weights.view_as(losses) * self.losses(leaves, batch)).sum()
        true = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True, materialize_grads=True)
        wrong = {name for name, g in zip(leaves, true, strict=True) if not _is_close(found.get(name), g)}
        covered = {
            name: layer
            for name, layer in layers.items()
            if not any(path in wrong or path not in leaves for path, _ in _parameters_of({name: layer}))
        }
        return covered


class _Dots:
    """Adds up the inner products layer by layer; what `_Tap` calls with a layer's inputs and gradients."""

    def __init__(
        self,
        layers: Mapping[str, nn.Module],
        n_targets: int,
        n_sources: int,
        preconditioner: Parameters | None,
        norms: bool,
    ) -> None:
        self._layers, self._preconditioner, self._norms = layers, preconditioner, norms
        self._shape = (n_targets, n_sources)
        self.n_validation = self.n_training = 0  # samples; set before the backward pass
        # sums over layers, which start as a number and take their shape from the first layer
        self.per_sample: Tensor | float = 0.0  # (R, S, b)
        self.square_target: Tensor | float = 0.0  # (R,) of the direction
        self.square_source: Tensor | float = 0.0  # (R, S) of the pairs' gradients

    def __call__(self, name: str, calls: list[_Call]) -> None:
        layer = self._layers[name]
        rule = _RULES[type(layer)]
        held_out = _tokens(name, calls, 0, self.n_validation)
        own = _tokens(name, calls, 1, self.n_training)
        n_targets, n_sources = self._shape
        n_pairs = n_targets * n_sources
        b = self.n_training // n_pairs
        direction: dict[str, Tensor] = {}
        if held_out is not None:
            direction = rule.gradient(layer, *_grouped(held_out, n_targets))
            if self._preconditioner is not None:
                scale = {key: self._preconditioner[_path(name, key)] for key in direction}
                direction = {key: g.to(held_out[1].dtype) for key, g in precondition(direction, scale).items()}
        if held_out is not None and own is not None:  # otherwise one of the two gradients is 0
            x, d = _grouped(own, n_targets)
            projected = rule.project(layer, x, direction)
            flat = [tensor.reshape(self.n_training, 1, -1) for tensor in (projected, d)]  # (n, 1, t * D)
            dots = _wide(flat[0] @ flat[1].mT)
            self.per_sample = self.per_sample + dots.view(n_targets, n_sources, b)
        if self._norms:
            if direction:
                self.square_target = self.square_target + _squares(direction)
            if own is not None:
                squares = _squares(rule.gradient(layer, *_grouped(own, n_pairs))) / b**2
                self.square_source = self.square_source + squares.view(self._shape)

    def alignment(self, losses: Tensor) -> Alignment:
        """What was added up; `losses` (R x S, b) of the training groups give the shape where nothing was."""
        zeros = torch.zeros_like(losses).view(*self._shape, -1)
        per_sample = zeros + self.per_sample
        if not self._norms:
            return Alignment(per_sample, None)
        square_target, square_source = zeros[:, 0, 0] + self.square_target, zeros[:, :, 0] + self.square_source
        return Alignment(per_sample, (square_target[:, None] * square_source).sqrt())


def _grouped(tokens: tuple[Tensor, Tensor], n_groups: int) -> tuple[Tensor, Tensor]:
    """Inputs and gradients (n, t, ...) -> (n_groups, n / n_groups * t, ...)."""
    x, d = tokens
    return x.reshape(n_groups, -1, *x.shape[2:]), d.reshape(n_groups, -1, d.shape[2])


def _squares(gradients: Parameters) -> Tensor:
    """Squared norms (B,) over all of a layer's parameters (B, *shape)."""
    return torch.stack([_wide(g).square().flatten(1).sum(dim=1) for g in gradients.values()]).sum(dim=0)


def _wide(x: Tensor) -> Tensor:
    """At least single precision, for sums over many terms."""
    return x if x.dtype == torch.float64 else x.float()


def _path(name: str, key: str) -> str:
    """The model's name of a layer's parameter; a model that is a layer itself has the name ''."""
    return f"{name}.{key}" if name else key


def _has_rule(layer: nn.Module) -> bool:
    if isinstance(layer, nn.Embedding):
        is_plain = layer.padding_idx is None and layer.max_norm is None
        return type(layer) is nn.Embedding and is_plain and not layer.scale_grad_by_freq
    if isinstance(layer, nn.LayerNorm):
        return type(layer) is nn.LayerNorm and layer.elementwise_affine and len(layer.normalized_shape) == 1
    return type(layer) is nn.Linear


def _parameters_of(layers: Mapping[str, nn.Module]) -> Iterator[tuple[str, nn.Parameter]]:
    for name, layer in layers.items():
        for key, parameter in layer.named_parameters(recurse=False):
            yield _path(name, key), parameter


def _is_close(found: Tensor | None, true: Tensor) -> bool:
    if found is None:
        return not true.any()  # a layer that was not called
    tolerance = _CHECK_TOLERANCE if found.dtype in (torch.float32, torch.float64) else _CHECK_TOLERANCE_LOW
    scale = true.norm() + torch.finfo(torch.float32).tiny
    return bool((found.to(true.dtype) - true).norm() <= tolerance * scale)
