"""Nearest images, indexes of them, and scores on benchmarks."""
