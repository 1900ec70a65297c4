"""What is asked of the operating system: processes, signals, sockets, files, shared memory. No gevent, no HTTP."""
