"""Where log lines and metrics go: files, standard streams, syslog, statsd. It does not know what a line says."""
