#!/usr/bin/env bash
# kcat, from Debian: librdkafka 2.0, a good check of low protocol versions.
. "$(dirname "$0")/lib.sh"
has kcat && { say "kcat: ready"; exit 0; }
apt_install kcat || say "kcat: not here and not to be installed without root, its tests will be skipped"
