"""Images to descriptors: networks made ready, many files, and the files of descriptors."""
