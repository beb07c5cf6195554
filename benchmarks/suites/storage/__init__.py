"""The result rows of a suite and how they are stored and published."""
