"""Benchmarks: suites, statistics, pages, speed figures, and the `vamo` command."""
