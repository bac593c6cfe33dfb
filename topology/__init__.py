"""Where the policy runs: the addressing plan, sockets (switch ports) and containers. Pure."""
