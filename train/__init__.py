"""Training: labelled folders become a released bundle. The `train` extra; imports sorter, never the reverse."""
