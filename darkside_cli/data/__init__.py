"""Images, lists of images, and data sets."""
