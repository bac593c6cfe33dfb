"""Sets of packets, and what flow tables do with one. Pure."""
