"""What ``nft flush ruleset`` does, where it is run: one order to delete all tables of nf_tables."""

from __future__ import annotations

from host_agent.drivers import netlink_wire as wire
from host_agent.drivers.netlink_socket import NETFILTER, NetlinkSocket
from host_agent.drivers.nftables import BATCH_BEGIN, BATCH_END, DELETE_TABLE, HEAD, SUBSYSTEM


def main() -> None:
    edge, every_family = HEAD.pack(0, 0, SUBSYSTEM), HEAD.pack(0, 0, 0)
    with NetlinkSocket(NETFILTER) as kernel:
        kernel.order(
            wire.message(BATCH_BEGIN, wire.REQUEST, edge),
            wire.message(SUBSYSTEM << 8 | DELETE_TABLE, wire.REQUEST | wire.ACK, every_family),
            wire.message(BATCH_END, wire.REQUEST, edge),
        )


if __name__ == "__main__":
    main()
