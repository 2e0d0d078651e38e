"""Formats of gandtr, cirtorch, CycleGAN and CUT, read strictly; pickles are never run."""
