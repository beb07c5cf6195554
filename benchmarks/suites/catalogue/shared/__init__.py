"""Methods, families and periods that several suites share."""
