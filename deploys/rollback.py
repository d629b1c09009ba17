"""Goes back to the release of Ollama that a host has used before, one host after the other.

pyinfra inventory.py deploys/rollback.py --limit HOST
"""

from corral.operations import load, models, rollback, verify

rollback(name="Go back to the release in use before")
models(name="Create the models")
load(name="Load the planned models and compare")
verify(name="Verify from the clients' side")
