"""Destinations that TPROXY never takes: the packet flow document's list, and what it left out."""

BYPASSED = (
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "224.0.0.0/4",
    "255.255.255.255/32",
    # What the document's list left out.
    "0.0.0.0/8",
    "100.64.0.0/10",  # shared address space: the mesh lives there
    "192.0.0.0/24",
    "198.18.0.0/15",
    "240.0.0.0/4",
)
BYPASSED6 = ("::1/128", "::/128", "fe80::/10", "fc00::/7", "ff00::/8", "::ffff:0:0/96", "100::/64")
