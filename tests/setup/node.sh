#!/usr/bin/env bash
# kafkajs and codecs for it that need no native build.
. "$(dirname "$0")/lib.sh"
need_or_leave node node "Node.js"
need_or_leave node npm "npm"
take_turns node
from=$repository/tests/clients/node
hash=$(inputs_hash "$0" "$from/package.json" "$from/package-lock.json")
is_installed node "$hash" && { say "node: ready"; exit 0; }

say "node: installing kafkajs"
rm -rf "$peers/node"
mkdir -p "$peers/node"
cp "$from/package.json" "$from/package-lock.json" "$from/.npmrc" "$peers/node/"
(cd "$peers/node" && npm ci --silent --ignore-scripts --no-audit --no-fund)
mark_installed node "$hash"
