"""The master: how many processes live together, and the resources that they share. It has no HTTP and no threads."""
