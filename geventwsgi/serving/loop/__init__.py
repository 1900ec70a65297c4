"""What runs on the loop of one hub: greenlets, their turns, and time. Knows no socket and no HTTP."""
