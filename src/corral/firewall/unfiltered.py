"""A server that the whole internet can reach. Ollama has no authentication, so that is nobody's default."""

from __future__ import annotations

from corral.errors import CorralError
from corral.probe.state import HostState


def refuse_public(state: HostState, bind_address: str, off: str, remedy: str) -> None:
    """Raises CorralError for a host where nothing filters and the server would listen on a public address.

    off: what is so of its firewall. remedy: how to turn one on; it ends without a period.
    """
    public = [address for address in state.public_addresses if (":" in address) <= (bind_address == "::")]
    if public:
        raise CorralError(
            f"{off} and the host has the public address {public[0]}: the whole internet could use "
            "and delete its models",
            f"{remedy}, or declare firewall: none if something else protects the host",
        )
