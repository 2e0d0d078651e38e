"""Training tuples: their images, anchors, positives, and hard negatives mined by the network that learns."""
