"""What is asked about countries and what is answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from host_agent.prefixes import Family, Prefixes
from policies.host_model import Ipsets

EXTENDED = "_ext"  # ending of a code: the operator's own, wider list for that country
Key = tuple[str, Family]  # a country code in lower case, perhaps with the ending


@dataclass(frozen=True)
class Settings:
    zones_dir: Path  # where the operator's files are
    templates: Mapping[Family, tuple[str, ...]]  # addresses with "{cc}" for the code; none: nothing is downloaded
    fresh_seconds: float = 86400  # so long a downloaded copy is used without asking again
    package: Path = Path("/usr/share/tor")  # where Debian's tor-geoipdb puts its files
    authorities: Path | None = None  # certificates of the authorities to trust; None: the system's


@dataclass(frozen=True)
class Country:
    """``prefixes`` is None if no source has them; ``problem`` says what is not as it should be, also if there are."""

    prefixes: Prefixes | None
    source: str
    age_seconds: float | None
    problem: str | None


class SourceFailed(Exception):
    """A source has nothing usable; the text says why."""


def settings(ipsets: Ipsets) -> Settings:
    """From the document's ``advanced.ipsets``."""
    templates: dict[Family, tuple[str, ...]] = {"ipv4": ipsets.urls, "ipv6": ipsets.urls6}
    return Settings(Path(ipsets.zones_dir), templates, ipsets.refresh_hours * 3600)
