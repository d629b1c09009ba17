"""Takes away what corral has put on a host, and nothing else. Models stay, unless remove_models: true is declared.

pyinfra inventory.py deploys/uninstall.py --limit HOST
pyinfra --dry inventory.py deploys/uninstall.py --limit HOST
"""

from corral.operations import uninstall

uninstall(name="Uninstall Ollama")
