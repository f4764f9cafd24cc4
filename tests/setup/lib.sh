# Shared by the scripts of this folder: where peers live, how a finished install is remembered.
# Sourced, never run. Every script is idempotent and prints one line when there is nothing to do.
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
peers=${KETCD_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/ketcd-peers}
mkdir -p "$peers"

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

# Two `make` runs on one machine take turns, peer by peer.
take_turns() {
    has flock || return 0
    exec 9>"$peers/.$1.lock"
    flock 9
}

# The hash of what an install is made from: the same inputs are never installed twice.
inputs_hash() { cat "$@" | sha256sum | cut -d' ' -f1; }
is_installed() { [ "$(cat "$peers/$1/.installed" 2>/dev/null)" = "$2" ]; }
mark_installed() { printf '%s\n' "$2" >"$peers/$1/.installed"; }

# A toolchain that is not there is no failure of the set-up: the tests skip that client by name
# and count it, and KETCD_NO_SKIPS turns the skip into a failure where it matters.
need_or_leave() {
    local peer=$1 tool=$2 what=$3
    if ! has "$tool"; then
        say "$peer: no $what here, its tests will be skipped"
        exit 0
    fi
}

# Debian packages, as root or by a sudo that asks nothing; otherwise returns 1.
apt_install() {
    local sudo=
    has apt-get || return 1
    if [ "$(id -u)" != 0 ]; then
        has sudo && sudo -n true 2>/dev/null || return 1
        sudo='sudo -n'
    fi
    say "installing $* from Debian's packages"
    if ! $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null 2>&1; then
        $sudo apt-get update -qq >/dev/null || return 1
        $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null || return 1
    fi
}
