"""From estimates to tables, figures and HTML pages."""
