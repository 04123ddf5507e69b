"""Tests that need a machine: installs, boots, browsers, a simulated chip."""
