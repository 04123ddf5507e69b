"""sorter: classify pictures of waste, map them to bins, drive a diverter over serial."""

__version__ = "0.1.0"
