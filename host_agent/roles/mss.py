"""What TCP is told on its way through a tunnel, where less fits into a packet than on Ethernet."""

CLAMP = "-p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu"
