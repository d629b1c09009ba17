# shellcheck shell=bash
# Started on the host by trial.sh, with TRIAL, SERVICE and CURRENT as arguments, as soon as nobody holds the lock of the
# run that tries a release. Where that run has not come to an end of the trial, the service runs CURRENT again.
# That run's scripts may take three seconds to end (lib.sh).
sleep 4
pid=$(systemctl show "$2" -p MainPID --value)
running=$(readlink -- "/proc/$pid/exe")
if [ ! -e "$1" ] && [ "$running" = "$(readlink -f -- "$3/bin/ollama")" ]; then exit 0; fi
rm -f -- "$1"
systemctl daemon-reload
systemctl restart -- "$2"
