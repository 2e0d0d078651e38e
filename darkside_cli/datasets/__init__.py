"""What a set of images is and how it is read: lists, tuples, places, test sets, ground truths."""
