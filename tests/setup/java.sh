#!/usr/bin/env bash
# The Java client: kafka-clients by Maven, the tests' own programs by javac.
. "$(dirname "$0")/lib.sh"
need_or_leave java javac "JDK"
need_or_leave java mvn "Maven"
take_turns java
from=$repository/tests/clients/java
programs=("$from"/*.java "$repository"/tests/cluster/*.java)
hash=$(inputs_hash "$0" "$from/pom.xml" "${programs[@]}")
is_installed java "$hash" && { say "java: ready"; exit 0; }

pom=$(inputs_hash "$from/pom.xml")
if [ "$(cat "$peers/java/.pom" 2>/dev/null)" != "$pom" ]; then
    say "java: fetching kafka-clients"
    rm -rf "$peers/java"
    mkdir -p "$peers/java"
    mvn -q -B -f "$from/pom.xml" dependency:copy-dependencies -DoutputDirectory="$peers/java/lib"
    printf '%s\n' "$pom" >"$peers/java/.pom"
fi
say "java: compiling the client programs"
rm -rf "$peers/java/classes"
javac -nowarn -cp "$peers/java/lib/*" -d "$peers/java/classes" "${programs[@]}"
mark_installed java "$hash"
