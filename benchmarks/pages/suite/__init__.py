"""The interactive page of a suite's results."""
