"""One client's socket: bytes in and out, with TLS or without. Knows no HTTP."""
