"""The transformer: blocks, conditioning, heads, periodicity, and decisions one tick at a time."""
