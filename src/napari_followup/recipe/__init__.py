"""Settings of a detection: what is scored, fused, thresholded and segmented, and how."""
