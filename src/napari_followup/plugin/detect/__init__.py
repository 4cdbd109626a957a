"""Detect anomalies, and its steps as widgets of their own."""
