"""The flow entries that a policy asks for, as values: what each table holds. Pure."""
