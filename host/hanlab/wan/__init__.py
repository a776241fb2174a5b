"""The host's side of the WAN: an SMP client that talks to a Communications Hub over any octet link."""
