"""Labelled folders become a released bundle: the `train` extra; sorter never imports it."""
