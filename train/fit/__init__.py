"""The training itself: head, whole network, schedules, targets."""
