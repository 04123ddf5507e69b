"""Labelled folders become numbered examples, drawn and changed for training."""
