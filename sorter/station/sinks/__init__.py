"""Where finished records go besides the journal: archive, unsure folder, console."""
