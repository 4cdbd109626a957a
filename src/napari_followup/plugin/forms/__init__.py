"""Controls that more than one widget uses."""
