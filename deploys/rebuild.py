"""Takes a host with nothing but sshd and a key to serving: packages, driver, a reboot, and all that r1.py does.

pyinfra inventory.py deploys/rebuild.py --limit HOST
pyinfra --dry inventory.py deploys/rebuild.py --limit HOST

A stage that is done is skipped; a run that was cut off is finished by the next. What deploys/backup.py has saved of the
host is brought back.
"""

from corral.operations import (
    bare_stage,
    driver_stage,
    firewall,
    install,
    load,
    models,
    preflight,
    reboot_stage,
    restore,
    service,
    verify,
)

bare_stage(name="Stage bare: clock, name and packages")
driver_stage(name="Stage driver: the GPU's driver")
reboot_stage(name="Stage reboot: the driver at work")
preflight(name="Stage serve: check that the host can be set up")
install(name="Stage serve: install the pinned Ollama")
service(name="Stage serve: run Ollama as a service")
firewall(name="Stage serve: open the firewall to those meant to use it")
restore(name="Stage serve: bring back what was saved")
models(name="Stage serve: create the models")
load(name="Stage serve: load the planned models and compare")
verify(name="Stage verified: ask the server from the clients' side")
