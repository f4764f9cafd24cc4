#!/usr/bin/env bash
# Installs the etcd servers that the tests run against, and prints where they are.
#
#   debian  etcd-server and etcd-client of the distribution (3.4.x on Debian 12: old and hostile)
#   current etcd and etcdctl 3.7.3, built from their Go modules into $KETCD_PEERS/etcd-3.7.3/
#
# Idempotent: a second run costs nothing. What cannot be installed here (no root, no Go) is said, with the command
# to run, and the exit code is 1; the tests of that server are then skipped by name.
set -euo pipefail

version=3.7.3
peers="${KETCD_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/ketcd-peers}"
current="$peers/etcd-$version"
missing=0

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

install_debian() {
  [ -x /usr/bin/etcd ] && [ -x /usr/bin/etcdctl ] && return 0
  if ! command -v apt-get >/dev/null; then
    echo "etcd.sh: no apt-get here: install your distribution's etcd 3.4 yourself (optional)" >&2
    return 1
  fi
  if [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; then
    echo "etcd.sh: not root. Run: sudo apt-get install -y etcd-server etcd-client" >&2
    return 1
  fi
  # The package starts a service when it is installed. `policy-rc.d` forbids that while we install, and the service is
  # disabled afterwards: no server is left running on the well-known port, now or after a reboot.
  local policy=/usr/sbin/policy-rc.d made_policy=0
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    made_policy=1
  fi
  local status=0
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
    etcd-server etcd-client >&2 ||
    { as_root apt-get update -q >&2 &&
      as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
        etcd-server etcd-client >&2; } || status=$?
  [ "$made_policy" = 1 ] && as_root rm -f "$policy"
  if [ -d /run/systemd/system ]; then
    as_root systemctl disable --now etcd.service >&2 || true
  fi
  return "$status"
}

build_current() {
  [ -x "$current/etcd" ] && [ -x "$current/etcdctl" ] && return 0
  if ! command -v go >/dev/null; then
    echo "etcd.sh: no Go toolchain: etcd $version is not built, its tests are skipped (Go 1.25 or later is needed)" >&2
    return 1
  fi
  mkdir -p "$peers"
  local work
  work="$(mktemp -d "$peers/.etcd-build.XXXXXX")"
  echo "etcd.sh: building etcd $version (about 2 minutes, once)" >&2
  # A module of one's own: `go install` refuses the server's module because of its `replace` lines.
  if (
    cd "$work"
    export GO111MODULE=on GOFLAGS=-mod=mod CGO_ENABLED=0
    go mod init ketcd.invalid/peers
    go get -tool "go.etcd.io/etcd/server/v3@v$version" "go.etcd.io/etcd/etcdctl/v3@v$version"
    nice -n 19 go build -trimpath -ldflags='-s -w' -o out/etcd go.etcd.io/etcd/server/v3
    nice -n 19 go build -trimpath -ldflags='-s -w' -o out/etcdctl go.etcd.io/etcd/etcdctl/v3
  ) >&2; then
    # One rename at the end: an interrupted build leaves no half-installed server.
    rm -rf "$current"
    mv "$work/out" "$current"
    rm -rf "$work"
  else
    rm -rf "$work"
    echo "etcd.sh: etcd $version could not be built" >&2
    return 1
  fi
}

install_debian || missing=1
build_current || missing=1

if [ -x /usr/bin/etcd ]; then
  echo "etcd debian  /usr/bin/etcd ($(/usr/bin/etcd --version | sed -n '1s/.*: //p'))"
fi
if [ -x "$current/etcd" ]; then
  echo "etcd $version  $current/etcd"
  echo "etcdctl $version  $current/etcdctl"
fi
exit "$missing"
