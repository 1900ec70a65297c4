"""What the bytes of a WebSocket mean: frames and messages (RFC 6455), and their compression (RFC 7692)."""
