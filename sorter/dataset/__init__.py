"""Labelled folders of pictures, read and checked; never written to."""
