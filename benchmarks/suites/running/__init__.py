"""Runs a suite: one run, all runs, on processes or Ray, resumable."""
