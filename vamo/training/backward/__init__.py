"""Backward strategies: how a step's gradients come from the losses of its (target, source) pairs."""
