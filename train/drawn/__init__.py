"""Pictures drawn by us: for the bundled samples, the recipe and the tests."""
