"""What this machine is: clock, cores, mounts, processor. Every fact is read in one place."""
