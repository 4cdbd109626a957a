"""Trained models: in memory, in files, in the model folder; download and verification."""
