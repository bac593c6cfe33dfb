"""``apply --confirm``: a change that is taken back unless the operator confirms it."""
