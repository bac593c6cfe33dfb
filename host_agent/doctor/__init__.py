"""``privacy-agent doctor``: what on a machine will hinder the privacy router, and the cure."""
