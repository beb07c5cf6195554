"""Reads logs of impressions into the arrays of a replay market, in two passes and in bounded memory."""
