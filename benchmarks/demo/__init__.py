"""`vamo demo`: simulate, train, compare, report."""
