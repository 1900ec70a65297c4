"""How the workers of one master reach each other: frames over private sockets, in one order for all."""
