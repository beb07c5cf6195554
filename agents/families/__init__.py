"""Families of data-scarce tasks: members, logs on disk, distances between data sets, who is harmed and how much."""
