"""Align visits."""
