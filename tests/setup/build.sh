#!/usr/bin/env bash
# What the build needs beside a Rust toolchain: protoc and Google's .proto files (for etcd's API).
. "$(dirname "$0")/lib.sh"
has cargo || die "no cargo here: install a Rust toolchain first (rustup, version 1.95 or newer)"

missing=
has protoc || missing=protobuf-compiler
# etcd's API imports google/protobuf/descriptor.proto: Debian has it in a package of its own.
[ -f /usr/include/google/protobuf/descriptor.proto ] ||
    [ -f "$(dirname "$(command -v protoc || echo /usr/bin/protoc)")/../include/google/protobuf/descriptor.proto" ] ||
    missing="$missing libprotobuf-dev"
[ -n "$missing" ] || exit 0

apt_install $missing && exit 0
cat >&2 <<END
setup: the build needs protoc and Google's .proto files. Please run, as root:

    apt-get update && apt-get install -y protobuf-compiler libprotobuf-dev

and then the same make command again.
END
exit 1
