"""The life of one request, whatever protocol brought it: its client, its deadline, what its environ has."""
