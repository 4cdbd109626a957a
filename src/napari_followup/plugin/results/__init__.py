"""Save what a run made."""
