"""Takes a host from nothing to serving its DeepSeek R1 distill, and keeps it so.

pyinfra inventory.py deploys/r1.py            shows what would change, asks, then changes it
pyinfra --dry inventory.py deploys/r1.py      only shows it
pyinfra -y inventory.py deploys/r1.py         does it without asking
"""

from corral.operations import firewall, install, load, models, preflight, service, verify

preflight(name="Check that the host can be set up")
install(name="Install the pinned Ollama")
service(name="Run Ollama as a service")
firewall(name="Open the firewall to those meant to use it")
models(name="Create the models")
load(name="Load the planned models and compare")
verify(name="Verify from the clients' side")
