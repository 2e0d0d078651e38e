"""Descriptors: fine-tuning, from tuples by mining to whitening and evaluation."""
