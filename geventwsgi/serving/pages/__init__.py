"""What the server answers itself."""
