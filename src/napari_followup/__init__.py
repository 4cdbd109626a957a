"""Find what is abnormal in a series of images of the same subject."""
