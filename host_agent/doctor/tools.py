"""Programs that work in the same space, and the marks, tables and preferences that their own documents name. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tool:
    """Another program in the same space, and how it is told to keep to other numbers."""

    name: str
    mark: int
    mask: int
    cure: str


TOOLS = (
    Tool("Tailscale", 0x40000, 0xFF0000, "tailscale set --netfilter-mode=off and make its rules by hand"),
    Tool("Tailscale", 0x80000, 0xFF0000, "tailscale set --netfilter-mode=off and make its rules by hand"),
    Tool("Calico", 0x10000, 0xFFFF0000, "set IptablesMarkMask (FelixConfiguration) to bits that are free"),
    Tool("OpenWrt pbr", 0x10000, 0xFF0000, "set fw_mask and uplink_mark in /etc/config/pbr"),
    Tool("mwan3", 0x100, 0x3F00, "set mmx_mask in /etc/config/mwan3"),
    Tool("warp-cli (Cloudflare WARP)", 0x100CF, 0xFFFFFFFF, "warp-cli disconnect; the WARP hop takes its place"),
    Tool("v2rayA", 0x40, 0xC0, "stop v2rayA; the Xray hop takes its place"),
    Tool(
        "wg-quick", 0xCA6C, 0xFFFFFFFF, "wg-quick down, and keep such a tunnel's default route out of it (Table = off)"
    ),
)
PROGRAMS = {
    "tailscaled": "Tailscale",
    "warp-svc": "warp-cli (Cloudflare WARP)",
    "v2raya": "v2rayA",
    "calico-node": "Calico",
}


def whose(mark: int, mask: int) -> Tool | None:
    """The tool that is known for such a mark."""
    exact = (tool for tool in TOOLS if (tool.mark, tool.mask) == (mark, mask))
    near = (tool for tool in TOOLS if tool.mask == mask and mask != 0xFFFFFFFF)
    return next(exact, next(near, None))
