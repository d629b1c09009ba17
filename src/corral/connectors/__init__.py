"""Connectors that corral adds to pyinfra."""
