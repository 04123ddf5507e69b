"""The networks of the source paper, one file each."""
