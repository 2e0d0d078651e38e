"""Upper bounds that several configurations share: far above what anybody trains with, far below what hangs a machine.

A network stated in a file and one asked for by a setting have the same bounds.
"""

from __future__ import annotations

MAX_CHANNELS = 256
"""Channels of a network's input or output; images have three."""
MAX_WIDTH = 1024
"""Channels of a network's first layer; published are 64."""
MAX_BLOCKS = 200
"""Residual blocks of a generator; published are 9."""
MAX_HALVINGS = 12
"""Times that a network halves its input: an image of 4,096 pixels is one pixel then."""
MAX_VECTOR = 65_536
"""Numbers in a vector of features."""
MAX_LAYERS = 256
"""Layers of a network that something is taken from."""
MAX_CROP_PX = 4096
"""Side of what a network is trained on."""
MAX_IMAGE_PX = 30_000
"""Longest side of an image that is worked on as a whole; no camera makes larger ones."""
MAX_RADIUS_PX = 1024
"""Radius of the windows of a filter."""
MAX_GAIN, MAX_GUIDE_EPS = 100.0, 10.0
"""Of a guided generator: gain of light, and the variance below which texture is smoothed (in [-1, 1] it is at most 1).
"""
MAX_BATCH = 4096
"""Items of a batch in one process."""
MAX_EPOCHS = 1_000_000
MAX_COUNT = 10_000_000
"""Images, pairs or tuples of an epoch, or to choose from: lists of so many numbers are made."""
MAX_POOL = 100_000
"""Generated images that are kept in memory."""
MAX_SEED = 2**31
MAX_MINUTES = 1_000_000.0
"""Minutes or seconds between two things that happen again and again."""
MAX_RATE = 1000.0
"""Learning rates, margins and temperatures."""
MAX_WEIGHT = 1e6
"""Weights of losses against one another, and other factors."""
MAX_MEGABYTES = 1_000_000_000
"""Memory or disk that something may take: a petabyte."""
MAX_CLIP_LIMIT, MAX_CLAHE_GRID = 1000.0, 256
"""Of CLAHE: from 256 on its histograms are not clipped at all; tiles along a side."""
