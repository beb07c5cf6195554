"""References that know the episode beforehand: to compare with, not to deploy."""
