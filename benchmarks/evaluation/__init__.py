"""Plays bidders of all kinds on the same episodes beside the hindsight reference: rows, table, figure, page."""
