#!/usr/bin/env bash
# Apache Kafka itself: its tools are run against ketcd, its broker is the peer to compare with.
. "$(dirname "$0")/lib.sh"
need_or_leave kafka javac "JDK"
need_or_leave kafka mvn "Maven"
take_turns kafka
from=$repository/tests/clients/kafka
hash=$(inputs_hash "$0" "$from/pom.xml" "$from"/*.java)
is_installed kafka "$hash" && { say "kafka: ready"; exit 0; }

pom=$(inputs_hash "$from/pom.xml")
if [ "$(cat "$peers/kafka/.pom" 2>/dev/null)" != "$pom" ]; then
    say "kafka: fetching Apache Kafka's broker and tools (140 MB)"
    rm -rf "$peers/kafka"
    mkdir -p "$peers/kafka"
    mvn -q -B -f "$from/pom.xml" dependency:copy-dependencies -DoutputDirectory="$peers/kafka/lib"
    printf '%s\n' "$pom" >"$peers/kafka/.pom"
fi
say "kafka: compiling the tool runner"
rm -rf "$peers/kafka/classes"
javac -nowarn -cp "$peers/kafka/lib/*" -d "$peers/kafka/classes" "$from"/*.java
mark_installed kafka "$hash"
