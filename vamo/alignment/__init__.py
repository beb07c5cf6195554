"""Alignments of sources with validation gradients, and the weights and sharing rules that follow from them."""
