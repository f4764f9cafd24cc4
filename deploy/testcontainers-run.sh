#!/bin/sh
# The entry point that Testcontainers' Kafka module expects: it exports KAFKA_* variables, then runs this and waits for Kafka's line.
set -eu
exec /usr/bin/ketcd dev --data "${KETCD_LOG_DIRS:-/data}"
