"""Markets made from impression logs: with logged competitors that do not react, with fixed prices; environments."""
