"""``privacy-agent status``: what is in force, as values and as tables."""
