"""Benchmarks: the demo, statistics, reports, speed figures, and the `vamo` command."""
