"""What the operator sees: logs, access records, metrics."""
