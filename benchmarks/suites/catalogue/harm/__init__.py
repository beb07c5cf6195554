"""Suites in which some logs harm: which way of sharing keeps them out."""
