"""The OpenFlow server: in the place of Ryu's, which is lost after a failed accept and bounds nothing.

Ryu makes its server in a greenlet of its own, where a port that is taken or a file that is not there would be a stack
trace in the log of a controller without switches. Ours is made before anything else starts.
"""

from __future__ import annotations

import logging
from typing import Any

from ryu.base import app_manager  # noqa: F401 (before ryu.controller, which imports it in a circle)
from ryu.controller import controller
from ryu.lib import hub
from ryu.ofproto.ofproto_common import OFP_SSL_PORT, OFP_TCP_PORT

from ryu_apps.listening import CannotListen, listen, tls_context
from ryu_apps.switches.peers import HANDSHAKE_SECONDS, PEERS, complaints, peers

LOG = logging.getLogger("privacy_router")


def install(conf: Any) -> None:
    """Listens as ryu-manager was told to; what comes is served when Ryu starts. Raises CannotListen."""
    # Without a port of its own Ryu listens on the one of OpenFlow's first years as well.
    conf.set_default("ofp_tcp_listen_port", OFP_TCP_PORT)
    conf.set_default("ofp_ssl_listen_port", OFP_SSL_PORT)
    context = _tls(conf)
    port = conf.ofp_ssl_listen_port if context else conf.ofp_tcp_listen_port
    server = PatientServer(listen(conf.ofp_listen_host, port), context)
    controller.OpenFlowController.server_loop = lambda _controller, *_ports: server.serve_forever()
    how = "in the clear"
    if context:
        how = "over TLS" if conf.ca_certs else "over TLS, without asking them for a certificate"
    LOG.info("listening for switches on %s port %d, %s", conf.ofp_listen_host, port, how)


def _tls(conf: Any) -> Any:
    """None if switches connect in the clear. Raises CannotListen."""
    given = [conf.ctl_cert, conf.ctl_privkey, conf.ca_certs]
    if given == [None, None, None]:
        return None
    if None in given[:2]:
        raise CannotListen("OpenFlow over TLS takes --ctl-privkey and --ctl-cert: one is not given")
    authority = ("--ca-certs", conf.ca_certs) if conf.ca_certs else None
    return tls_context(("--ctl-cert", conf.ctl_cert), ("--ctl-privkey", conf.ctl_privkey), authority)


class PatientServer:
    """Survives a failed accept, and bounds how many peers there are."""

    def __init__(self, listener: Any, context: Any) -> None:
        self._server = listener
        self._tls = context

    def serve_forever(self) -> None:
        while True:
            try:
                peer, address = self._server.accept()
            except OSError as error:
                complaints.warning("accept failed", "accept failed: %s", error)
                hub.sleep(0.2)
                continue
            if peers.admit(peer):
                hub.spawn(self._serve, peer, address)
            else:
                complaints.warning("too many switches", "peer %s: %d switches already; refused", address[0], PEERS)
                peer.close()

    def _serve(self, peer: Any, address: Any) -> None:
        try:
            if self._tls is not None:
                peer.settimeout(HANDSHAKE_SECONDS)
                plain, peer = peer, self._tls.wrap_socket(peer, server_side=True)
                peers.replace(plain, peer)
            controller.datapath_connection_factory(peer, address)
        except Exception as error:
            kind = type(error).__name__
            complaints.warning(kind, "peer %s: %s: %s; connection closed", address[0], kind, error)
        finally:
            peers.left(peer)
            peer.close()
