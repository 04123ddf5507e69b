"""Looking at a machine as the station will see it, and naming the fix for what is wrong."""
