"""What an operator may set: the group [privacy_router] of ryu-manager's --config-file, and environment variables."""

from __future__ import annotations

from ryu import cfg

from ryu_apps.log_format import FORMATS

GROUP = "privacy_router"
POLICY_VARIABLE = "PRIVACY_ROUTER_POLICY"
TOPOLOGY_VARIABLE = "PRIVACY_ROUTER_TOPOLOGY"
STATE_VARIABLE = "PRIVACY_ROUTER_STATE_DIR"

POLICY_OPTIONS = [
    cfg.StrOpt("policy_file", help="the policy document; or $" + POLICY_VARIABLE),
    cfg.StrOpt("topology_file", help="the nodes, if there are several; or $" + TOPOLOGY_VARIABLE),
]

LOG_OPTIONS = [
    cfg.StrOpt("log_format", default=FORMATS[0], choices=FORMATS, help="one line a record, as text or as JSON"),
]

REST_OPTIONS = [
    cfg.StrOpt("state_dir", default="/var/lib/privacy-router", help="where the token is made; or $" + STATE_VARIABLE),
    cfg.StrOpt("rest_token_file", help="default: rest-token in the state directory; made if it is not there"),
    cfg.StrOpt("rest_tls_cert", help="certificate chain of the REST server, PEM"),
    cfg.StrOpt("rest_tls_key", help="its private key, PEM"),
    cfg.ListOpt("rest_hosts", default=[], help="names by which clients call this server, beside loopback's"),
    cfg.FloatOpt("rest_requests_per_second", default=200.0, min=1.0, help="of one peer, on average"),
]
