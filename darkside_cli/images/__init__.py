"""One image: read, written, equalised, cropped, resized, augmented; its EXIF, its colours, its light."""
