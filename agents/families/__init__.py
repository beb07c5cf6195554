"""Families of data-scarce tasks: their members, their logs on disk, and distances between data sets."""
