"""A network namespace for each part, all routed through this one, where packets can be dropped."""

import pathlib
import subprocess

from parts import ADDRESSES, CLIENTS

NETNS = pathlib.Path("/run/netns")


def _ip(*words):
    subprocess.run(["ip", *words], check=True)


def build():
    """The namespaces and the ways between them. Only in a network and a mount namespace made for it."""
    NETNS.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", NETNS], check=True)
    pathlib.Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    _ip("link", "set", "lo", "up")
    for name, address in ADDRESSES.items():
        _connect(name, address)
    mend()


def _connect(name, address):
    here = f"to-{name}"
    _ip("netns", "add", name)
    _ip("link", "add", here, "type", "veth", "peer", "name", "eth0", "netns", name)
    _ip("address", "add", f"{CLIENTS}/32", "dev", here)
    _ip("link", "set", here, "up")
    _ip("route", "add", f"{address}/32", "dev", here, "src", CLIENTS)
    _ip("-n", name, "address", "add", f"{address}/32", "dev", "eth0")
    _ip("-n", name, "link", "set", "lo", "up")
    _ip("-n", name, "link", "set", "eth0", "up")
    _ip("-n", name, "route", "add", CLIENTS, "dev", "eth0")
    _ip("-n", name, "route", "add", "default", "via", CLIENTS)


def cut(ways):
    """From now on nothing passes from the first to the second part of each pair; everything else does."""
    pairs = ", ".join(f"{ADDRESSES[source]} . {ADDRESSES[target]}" for source, target in sorted(ways))
    rule = f"ip saddr . ip daddr {{ {pairs} }} drop" if ways else ""
    rules = f"""
        table inet chaos
        delete table inet chaos
        table inet chaos {{
          chain forward {{
            type filter hook forward priority 0; policy accept;
            {rule}
          }}
        }}
    """
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)


def mend():
    """Everything passes."""
    cut(set())
