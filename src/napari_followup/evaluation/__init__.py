"""Evaluation of models and recipes: figures that a command prints again."""
