"""Life in a worker's process, from the fork to its end."""
