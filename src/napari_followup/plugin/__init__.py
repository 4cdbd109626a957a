"""The napari plugin: readers, sample data, widgets, and the functions that their threads run.

Nothing here knows torch; the doors are imported inside the functions of `actions`.
"""
