"""Who is connected: accepting, counting, waiting, ending. Knows no protocol."""
