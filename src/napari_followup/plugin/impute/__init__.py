"""Impute visits."""
