"""Benchmark suites: what is compared on what (data), the runner, the store of its rows, and tables from rows alone."""
