"""Criteo's attribution log: sums by campaign and tick, and how late conversions come."""
