#!/usr/bin/env bash
# strace, from Debian: watches which threads of the broker make which system calls.
. "$(dirname "$0")/lib.sh"
has strace && { say "strace: ready"; exit 0; }
apt_install strace || say "strace: not here and not to be installed without root, its test will be skipped"
