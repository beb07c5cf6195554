"""The paper's own tables and figures (arXiv 2510.07760), made from whatever published suites have their arms."""
