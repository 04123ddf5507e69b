"""The station's unit files: made for this machine, put in place, taken away again."""
