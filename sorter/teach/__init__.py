"""A released model learns its site: a few labelled pictures become a new bundle, in seconds."""
