"""Markets made from impression logs, in which the logged competitors do not react, and their environments."""
