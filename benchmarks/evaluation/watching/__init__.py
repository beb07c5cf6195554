"""One episode as it unfolds, several bidders side by side: record, terminal, page (`vamo watch`)."""
