"""Compare visits."""
