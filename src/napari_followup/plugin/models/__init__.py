"""Choose a model and say what it knows."""
