"""Trained models: the bundle, its file, the catalogue, the model folder, download."""
