"""From result rows to estimates: pairing, bootstrap intervals, comparisons, profiles."""
