"""The standard library made ready for gevent."""
