"""Markets made from impression logs: competitors that do not react, fixed prices, live bidders; environments."""
