#!/usr/bin/env bash
# Apache Kafka, started as the tests start ketcd: `kafka-node.sh dev --port P --data DIR`. With
# KETCD_TEST_BROKER=tests/setup/kafka-node.sh the client matrix runs against Kafka itself, which checks the tests.
. "$(dirname "$0")/lib.sh"

port=0 data=
while [ $# -gt 0 ]; do
    case $1 in
        --port) port=$2; shift 2 ;;
        --data) data=$2; shift 2 ;;
        --set) shift 2 ;;
        *) shift ;;
    esac
done
[ -n "$data" ] || die "usage: kafka-node.sh dev --port P --data DIR"

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
[ "$port" != 0 ] || port=$(free_port)
controller=$(free_port)

cat >"$data/server.properties" <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
log.dirs=$data/log
offsets.topic.replication.factor=1
group.initial.rebalance.delay.ms=0
offsets.topic.num.partitions=3
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
END
cat >"$data/log4j2.properties" <<END
rootLogger.level=INFO
rootLogger.appenderRefs=out
rootLogger.appenderRef.out.ref=out
appenders=out
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%p %c{1} %m%n
END
java=(java -cp "$peers/kafka/lib/*" "-Dlog4j2.configurationFile=file:$data/log4j2.properties")
[ -e "$data/log/meta.properties" ] ||
    "${java[@]}" kafka.tools.StorageTool format -t 5L6g3nShT-eMCtK--X86sw -c "$data/server.properties" >"$data/format.out" 2>&1

: >"$data/server.out"
pid=$$
(
    until grep -q 'Kafka Server started' "$data/server.out"; do
        kill -0 $pid 2>/dev/null || exit 0
        sleep 0.1
    done
    echo "kafka  127.0.0.1:$port"
) &
exec "${java[@]}" -Xmx1G -server -XX:+UseG1GC kafka.Kafka "$data/server.properties" >"$data/server.out" 2>&1
