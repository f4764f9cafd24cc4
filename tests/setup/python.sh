#!/usr/bin/env bash
# The Python clients (confluent-kafka, kafka-python, aiokafka) in a virtual environment.
. "$(dirname "$0")/lib.sh"
need_or_leave python python3 "Python 3"
take_turns python
requirements=$repository/tests/clients/python/requirements.txt
hash=$(inputs_hash "$0" "$requirements")
is_installed python "$hash" && { say "python: ready"; exit 0; }

say "python: installing confluent-kafka, kafka-python, aiokafka"
rm -rf "$peers/python"
python3 -m venv "$peers/python" >/dev/null 2>&1 || {
    apt_install python3-venv || die "python3 has no venv module: install python3-venv"
    rm -rf "$peers/python"
    python3 -m venv "$peers/python"
}
"$peers/python/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: -r "$requirements"
mark_installed python "$hash"
