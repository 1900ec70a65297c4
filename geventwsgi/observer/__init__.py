"""What does a running server do? Answered over HTTP by one extra process of the master, which serves no application."""

#: The Server field of its answers, by which commands know it.
SERVER = "geventwsgi-observer"
#: Most workers that one order adds or removes.
MOST = 100
