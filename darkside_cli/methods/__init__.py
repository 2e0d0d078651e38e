"""The GAN methods as tasks for the trainer, and trained generators at work."""
