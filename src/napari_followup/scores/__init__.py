"""Scores: from images and their healthy reconstructions to maps of how abnormal each pixel is."""
