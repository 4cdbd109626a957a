"""Longitudinal stack: put a series together from files and layers."""
