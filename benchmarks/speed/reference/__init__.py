"""Plain reference implementations: oracles for tests and yardsticks for speed."""
