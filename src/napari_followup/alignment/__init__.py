"""Bring visits onto one grid: registration, resampling, bias field, brain mask."""
