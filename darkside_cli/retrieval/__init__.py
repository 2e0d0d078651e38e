"""Image retrieval: descriptors of images, their index, mining, whitening and benchmarks."""
