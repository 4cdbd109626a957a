"""How good a model and a recipe are, in numbers that a command prints again."""
