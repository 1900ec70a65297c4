"""The two ways to use a WebSocket after its handshake: an object that receives and sends, and a handler."""
