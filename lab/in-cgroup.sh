#!/bin/sh
# in-cgroup.sh CGROUP CMD...
# Runs CMD as a member of a cgroup, made when missing, so that everything CMD starts can be found and ended.
set -eu
mkdir -p "$1"
echo $$ >"$1/cgroup.procs"
shift
exec "$@"
