"""NumPy only, pure: ranks and ground truth in, retrieval metrics out."""
