"""What must hold before a host is changed. Each failure names what was found and what to do."""

from __future__ import annotations

from corral.errors import CorralError
from corral.gpus.judgement import problems, wants_integrated
from corral.ollama import models
from corral.run import HostRun


def check(run: HostRun) -> list[str]:
    """Check one host. Returns warnings; raises CorralError for what stands in the way."""
    settings, environment = run.settings, run.environment
    warnings = list(environment.warnings)
    run.check_rights()
    warnings += run.platform.preflight(run)
    _ = run.release
    _check_port(run)
    if run.opened_scope is not None and settings.allow_from == ("any",):
        warnings.append(
            "allow_from is any: whoever reaches this host can use, replace and delete its models, since "
            "Ollama asks nobody who they are"
        )
    models.check(run)
    if settings.require_gpu is not False:
        integrated = wants_integrated(environment.variables)
        warnings += map(str, problems(run.state.gpus, settings.ollama_version, integrated))
    if "OLLAMA_GO_TEMPLATE" not in environment.variables:
        # server/images.go of 0.34.4, where a model's template is chosen.
        warnings += [
            f"models: {spec.name}: template: Ollama may prefer the one inside the GGUF file; "
            "set OLLAMA_GO_TEMPLATE: true in environment to have yours used"
            for spec in run.models
            if spec.template is not None
        ]
    return warnings


def _check_port(run: HostRun) -> None:
    for listener in run.state.listeners:
        if listener.pid != run.state.server.main_pid:
            who = f"{listener.program} (pid {listener.pid})" if listener.program else "another program"
            raise CorralError(
                f"port {run.port} is taken by {who}", "Stop it, or give OLLAMA_HOST another port in environment"
            )
