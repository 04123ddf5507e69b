"""Tests of `actuator`."""
