"""Brings hosts to the declared release of Ollama, one after the other, and back by itself where it is not good.

pyinfra inventory.py deploys/upgrade.py            upgrade_batch says how many hosts at a time
pyinfra --dry inventory.py deploys/upgrade.py      only shows what it would do
"""

from corral.operations import fetch, load, models, preflight, service, switch, verify

preflight(name="Check that the host can be set up")
fetch(name="Fetch the new release while the old one serves")
switch(name="Switch to it, and back unless it is good")
service(name="Run Ollama as a service")
models(name="Create the models")
load(name="Load the planned models and compare")
verify(name="Verify from the clients' side")
