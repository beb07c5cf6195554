"""Rules compared in BAT's market: on its own tables, or on made-up ones in its schema."""
