"""Pictures drawn by us: for the first run, the demo and the tests."""
