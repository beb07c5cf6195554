"""The page of the demo's results."""
