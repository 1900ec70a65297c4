"""What the application sees: PEP 3333. No socket, no HTTP version, no bytes on the wire."""
