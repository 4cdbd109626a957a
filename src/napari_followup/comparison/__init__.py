"""Changes between visits, without any model."""
