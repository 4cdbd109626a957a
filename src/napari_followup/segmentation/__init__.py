"""From a score map to a mask, without labels."""
