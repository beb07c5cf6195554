"""Methods and families that several suites share."""
