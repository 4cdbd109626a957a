"""Impute missing visits and forecast those to come."""
