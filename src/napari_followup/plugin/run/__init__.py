"""A run in a thread: its buttons, progress and report."""
