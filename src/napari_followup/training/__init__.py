"""Workshops: turn healthy series into a trained model."""
