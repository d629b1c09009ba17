"""Checks only, changes nothing: is every host as declared, and does it serve? The exit code tells."""

from corral.operations import verify

verify(name="Verify from the clients' side")
