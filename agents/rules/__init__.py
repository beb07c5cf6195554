"""Bidders that decide by a formula with few parameters."""
