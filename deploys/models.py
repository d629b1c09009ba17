"""Only the models: creates those that are declared and differ. Ollama must be set up (deploys/r1.py)."""

from corral.operations import load, models, preflight, verify

preflight(name="Check that the host can be set up")
models(name="Create the models")
load(name="Load the planned models and compare")
verify(name="Verify from the clients' side")
