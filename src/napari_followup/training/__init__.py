"""Training of a model from healthy series: samples, augmentation, checkpoints, calibration."""
