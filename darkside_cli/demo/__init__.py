"""The whole method on the embedded city: a generator, two descriptors, and what night augmentation was worth."""
