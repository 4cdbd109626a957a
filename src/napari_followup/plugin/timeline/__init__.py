"""Timeline: the visits on an axis of ages."""
