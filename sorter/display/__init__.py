"""What a terminal shows: live screens, progress, summaries, log lines."""
