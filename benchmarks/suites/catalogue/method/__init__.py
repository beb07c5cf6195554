"""Suites about the parts of the method: ablations, temperature, validation sizes, optimisers."""
