"""Takes away what corral has put on a host, and nothing else. Models stay, unless the host declares remove_models: true.

pyinfra inventory.py deploys/uninstall.py --limit HOST
pyinfra --dry inventory.py deploys/uninstall.py --limit HOST
"""

from corral.operations import uninstall

uninstall(name="Uninstall Ollama")
