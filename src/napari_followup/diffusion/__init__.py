"""Gaussian diffusion as pure tensor functions: schedule, noise, process, sampling."""
