"""Hands pyinfra the hosts that a YAML file declares: CORRAL_INVENTORY's, else inventory/hosts.yml."""

import os
import sys
from pathlib import Path

from corral.errors import CorralError
from corral.inventory import find, load, to_pyinfra

try:
    # pyinfra takes each module-level list for a group of that name.
    globals().update(to_pyinfra(load(find(os.environ, Path(__file__).resolve().parent), os.environ)))
except CorralError as error:
    sys.exit(str(error))
