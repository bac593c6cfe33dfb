"""``privacy-agent explain``: which rule, set, mark, ip rule, table and device decide about a client's packet."""
