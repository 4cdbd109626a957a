"""What everything handles: the stack of visits, results, planes, grids, intensities."""
