"""Takes over the Ollama that install.sh has put on a host, with its models, its key and what people have set.

pyinfra --dry inventory.py deploys/adopt.py --limit HOST     shows what it is, and what would change
pyinfra inventory.py deploys/adopt.py --limit HOST

On a host without another Ollama it does what deploys/r1.py does.
"""

from corral.operations import adopt, firewall, install, leftovers, load, models, preflight, service, verify

adopt(name="Look at the Ollama that is there")
preflight(name="Check that the host can be set up")
install(name="Install the pinned Ollama")
service(name="Run Ollama as a service in its place")
firewall(name="Open the firewall to those meant to use it")
models(name="Create the models")
load(name="Load the planned models and compare")
verify(name="Verify from the clients' side")
leftovers(name="Remove what is left of the other one")
