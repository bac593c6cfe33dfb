"""``privacy-agent run``: the policy kept in force, by what the kernel tells and by looking."""
