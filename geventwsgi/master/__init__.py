"""How many processes live together: the master, its workers, and what they share. No HTTP, no thread."""
