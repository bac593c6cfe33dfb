"""The state of a host as frozen values: what is wanted and what is there have the same type.

Only objects of ours are in an actual state. A freshly started agent knows them by a mark on the machine:

* network namespaces by the alias of their loopback link, links by their alias, OVS rows by an external id,
* ip rules and routes by their protocol number, IPsec policies by their priority,
* sets by the low bits of their capacity, chains by name, rules in shared chains by their comment,
* processes by a variable of their environment.
"""

from host_agent.prefixes import Family as Family
from host_agent.state.filtering import SHARED as SHARED
from host_agent.state.filtering import Chain as Chain
from host_agent.state.filtering import FilterRule as FilterRule
from host_agent.state.filtering import IpSet as IpSet
from host_agent.state.filtering import Placement as Placement
from host_agent.state.filtering import filter_rule as filter_rule
from host_agent.state.filtering import of_family as of_family
from host_agent.state.host import DEGRADED as DEGRADED
from host_agent.state.host import NOTE as NOTE
from host_agent.state.host import REPLACED as REPLACED
from host_agent.state.host import Bridge as Bridge
from host_agent.state.host import Daemon as Daemon
from host_agent.state.host import File as File
from host_agent.state.host import HostState as HostState
from host_agent.state.host import NamespaceState as NamespaceState
from host_agent.state.host import Stranger as Stranger
from host_agent.state.host import combine as combine
from host_agent.state.names import DECIDING as DECIDING
from host_agent.state.names import FAMILIES as FAMILIES
from host_agent.state.names import FAMILY_OPTION as FAMILY_OPTION
from host_agent.state.names import FORWARDING_PREFERENCE as FORWARDING_PREFERENCE
from host_agent.state.names import IPSET_NAME as IPSET_NAME
from host_agent.state.names import LAST_METRIC as LAST_METRIC
from host_agent.state.names import LAST_PREFERENCE as LAST_PREFERENCE
from host_agent.state.names import LOGS as LOGS
from host_agent.state.names import MAIN_TABLE as MAIN_TABLE
from host_agent.state.names import MESH_ETHERNET as MESH_ETHERNET
from host_agent.state.names import NAME as NAME
from host_agent.state.names import NAMESPACE_NAME as NAMESPACE_NAME
from host_agent.state.names import NODE as NODE
from host_agent.state.names import OWNER as OWNER
from host_agent.state.names import PROTOCOL as PROTOCOL
from host_agent.state.names import checked as checked
from host_agent.state.names import free_name as free_name
from host_agent.state.names import log_path as log_path
from host_agent.state.routing import EVERY_IPV4 as EVERY_IPV4
from host_agent.state.routing import EVERY_IPV6 as EVERY_IPV6
from host_agent.state.routing import Address as Address
from host_agent.state.routing import Block as Block
from host_agent.state.routing import IPAddress as IPAddress
from host_agent.state.routing import IPInterface as IPInterface
from host_agent.state.routing import IPNetwork as IPNetwork
from host_agent.state.routing import Link as Link
from host_agent.state.routing import Route as Route
from host_agent.state.routing import Rule as Rule
from host_agent.state.routing import Sysctl as Sysctl
from host_agent.state.routing import table_name as table_name
from host_agent.state.wireguard import Endpoint as Endpoint
from host_agent.state.wireguard import Peer as Peer
from host_agent.state.wireguard import Secret as Secret
from host_agent.state.wireguard import WireGuardDevice as WireGuardDevice
