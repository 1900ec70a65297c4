"""What does a running server do? Answered over HTTP by one extra process of the master, which serves no application."""
