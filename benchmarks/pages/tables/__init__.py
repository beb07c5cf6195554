"""Statistics of a suite as tables: cells first, then the form of the terminal or of Markdown."""
