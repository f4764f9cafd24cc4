#!/usr/bin/env bash
# franz-go: one static program.
. "$(dirname "$0")/lib.sh"
need_or_leave go go "Go"
take_turns go
from=$repository/tests/clients/go
hash=$(inputs_hash "$0" "$from/go.mod" "$from/go.sum" "$from"/*.go)
is_installed go "$hash" && { say "go: ready"; exit 0; }

say "go: building the franz-go program"
mkdir -p "$peers/go"
(cd "$from" && CGO_ENABLED=0 go build -mod=readonly -trimpath -ldflags='-s -w' -o "$peers/go/agent" .)
mark_installed go "$hash"
