"""Kernels that read logs: CSV cells, and sums of them."""
