"""The version of all packages of this distribution."""

__version__ = "0.1.0"
"""Of the distribution, as in the change log."""
