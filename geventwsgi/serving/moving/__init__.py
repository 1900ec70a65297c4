"""How a connection goes on in another worker. Knows no protocol."""
