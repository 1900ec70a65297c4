"""How a server is started: from a script, from a PasteDeploy file, without fork, or only checked."""
