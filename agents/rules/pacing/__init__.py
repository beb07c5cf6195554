"""Bidders that follow a spending plan and heed the budget alone."""
