"""From a stack of visits to a detection: prepare, examine, score, threshold, segment."""
