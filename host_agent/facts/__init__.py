"""What the roles have to know about this machine, and how it is gathered."""
