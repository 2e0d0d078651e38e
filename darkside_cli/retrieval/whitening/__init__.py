"""Whitening of descriptors, learned from pairs."""
