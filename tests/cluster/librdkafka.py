"""The second family of clients: librdkafka, under Python. It writes its history to standard output, in the format of history.rs.

    librdkafka.py all BOOTSTRAP TOPIC PARTITIONS FIRST_PRODUCER PER_SECOND
        produces to every partition, idempotently and with default retries, and reads every partition from its start
    librdkafka.py group BOOTSTRAP TOPIC GROUP NAME
        a member of a group: reads what it is given, commits after each batch

On standard input: `stop` ends the sending, `drain {"0": 17, ...}` the reading as soon as these offsets are reached; the end of the
input ends everything. A line `{"done": ...}` answers each.
"""
import json
import os
import queue
import sys
import threading
import time

import confluent_kafka
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

# Errors after which librdkafka reads a partition no further.
STOPPING = (KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET, KafkaError._LOG_TRUNCATION)

# When all brokers are gone at once, librdkafka 2.16 begins anew from its bootstrap servers; with an OffsetForLeaderEpoch under way its
# main thread then hangs for ever, once in some thirty times. So it is to go on with the brokers that it knows. (The Java client begins
# anew as it likes.)
RECOVERY = {"metadata.recovery.strategy": "none"}

commands = queue.SimpleQueue()


def listen():
    for line in sys.stdin:
        commands.put(line.split(None, 1))
    commands.put(["end"])


def note(client, op, **fields):
    line = {"at": int(time.time() * 1000), "client": client, "op": op, **fields}
    sys.stdout.write(json.dumps(line) + "\n")


def done(what):
    sys.stdout.write(json.dumps({"done": what}) + "\n")
    sys.stdout.flush()


def told(client):
    program = f"confluent-kafka {confluent_kafka.__version__}, librdkafka {confluent_kafka.libversion()[0]}"
    note(client, "client", program=program)


def fold(records):
    """(offset, producer, number) as runs."""
    runs = []
    for offset, producer, number in records:
        last = runs[-1] if runs else None
        if (
            last is not None
            and last["producer"] == producer
            and last["offset"] + last["count"] == offset
            and last["first"] + last["count"] == number
        ):
            last["count"] += 1
        else:
            runs.append({"offset": offset, "producer": producer, "first": number, "count": 1})
    return runs


def polled(client, messages):
    """Notes what a poll brought; gives the offset after it, by partition."""
    found, ends = {}, {}
    for message in messages:
        error = message.error()
        if error is not None:
            # What librdkafka itself goes on after is told on standard error only: lost connections, elections.
            print(f"{client}: {error}", file=sys.stderr)
            if error.fatal() or error.code() in STOPPING:
                note(client, "error", why=f"consume: {error}")
            continue
        producer, number = message.value().split(b"/")[:2]
        found.setdefault(message.partition(), []).append((message.offset(), int(producer), int(number)))
        ends[message.partition()] = message.offset() + 1
    for partition, records in found.items():
        note(client, "poll", partition=partition, runs=fold(records))
    return ends


class Sender:
    def __init__(self, bootstrap, topic, partitions, first, per_second):
        self.client = f"librdkafka-{first}"
        told(self.client)
        self.producer = Producer({
            **RECOVERY,
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "linger.ms": 5,
            "socket.timeout.ms": 10_000,
            "log_level": 2,
            "error_cb": self.on_error,
        })
        self.topic, self.partitions, self.first = topic, partitions, first
        self.next = [0] * partitions
        self.pace = per_second
        self.begun = time.monotonic()
        self.sent = 0
        self.acked = {}
        for partition in range(partitions):
            note(self.client, "producer", producer=first + partition, idempotent=True)

    def on_error(self, error):
        if error.fatal():
            note(self.client, "error", why=f"produce: {error}")

    def delivered(self, error, message):
        partition = message.partition()
        producer, number = (int(part) for part in message.value().split(b"/")[:2])
        if error is None and message.offset() is None:
            # The ack of a later batch stands for this one's, which was lost with its connection.
            self.send("ok", partition, number, 1)
        elif error is None:
            self.acked.setdefault(partition, []).append((message.offset(), producer, number))
        else:
            note(self.client, "error", why=f"delivery to {partition}: {error}")
            self.send("unknown", partition, number, 1, why=str(error))

    def send(self, state, partition, first, count, **more):
        note(
            self.client, "send", state=state, partition=partition, producer=self.first + partition, first=first,
            count=count, **more
        )

    def turn(self):
        """Sends what is due and notes what was acknowledged."""
        due = int((time.monotonic() - self.begun) * self.pace) - self.sent
        due = min(due, 200)
        if due > 0 and len(self.producer) < 5_000:
            share = -(-due // self.partitions)
            for partition in range(self.partitions):
                first = self.next[partition]
                self.send("invoke", partition, first, share)
                for number in range(first, first + share):
                    self.producer.produce(
                        self.topic, partition=partition, value=b"%d/%d/%s" % (self.first + partition, number, b"y" * 60),
                        on_delivery=self.delivered,
                    )
                self.next[partition] = first + share
                self.sent += share
        elif due > 0:
            # What could not be sent in time is not caught up with.
            self.sent += due
        self.producer.poll(0)
        self.tell()

    def tell(self):
        for partition, records in self.acked.items():
            for run in fold(records):
                self.send("ok", partition, run["first"], run["count"], offset=run["offset"])
        self.acked = {}

    def stop(self):
        left = self.producer.flush(150)
        self.tell()
        if left:
            note(self.client, "error", why=f"{left} records without an end after 150 s")


def everything(bootstrap, topic, partitions, first, per_second):
    partitions, first = int(partitions), int(first)
    reader = f"librdkafka-reader-{first}"
    told(reader)
    sender = Sender(bootstrap, topic, partitions, first, float(per_second))
    # To look into a failure: KETCD_TEST_LIBRDKAFKA_DEBUG=topic,fetch.
    debug = os.environ.get("KETCD_TEST_LIBRDKAFKA_DEBUG")
    consumer = Consumer({
        **RECOVERY,
        **({"debug": debug} if debug else {}),
        "bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False,
        "auto.offset.reset": "error", "socket.timeout.ms": 10_000, "log_level": 7 if debug else 2,
    })
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
    for partition in range(partitions):
        note(reader, "assign", partition=partition, offset=0)
    position = [0] * partitions
    sending, targets = True, None
    while True:
        if sending:
            sender.turn()
        for partition, end in polled(reader, consumer.consume(1000, 0.02)).items():
            position[partition] = end
        sys.stdout.flush()
        if targets is not None and all(position[partition] >= end for partition, end in targets.items()):
            targets = None
            done("drain")
        try:
            command = commands.get_nowait()
        except queue.Empty:
            continue
        if command[0] == "stop":
            sending = False
            sender.stop()
            done("stop")
        elif command[0] == "drain":
            targets = {int(partition): end for partition, end in json.loads(command[1]).items()}
        else:
            return


def member(bootstrap, topic, group, name):
    client = f"{group}/{name}"
    told(client)
    consumer = Consumer({
        **RECOVERY,
        "bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False,
        "auto.offset.reset": "earliest", "session.timeout.ms": 10_000, "heartbeat.interval.ms": 1000,
        "socket.timeout.ms": 10_000, "log_level": 2,
    })

    def assigned(_, partitions):
        for partition in partitions:
            note(client, "assign", partition=partition.partition, offset=None)

    consumer.subscribe([topic], on_assign=assigned)
    while True:
        ends = polled(client, consumer.consume(500, 0.1))
        if ends:
            offsets = [TopicPartition(topic, partition, end) for partition, end in ends.items()]
            try:
                for partition in consumer.commit(offsets=offsets, asynchronous=False):
                    state = "ok" if partition.error is None else "unknown"
                    note(client, "commit", state=state, partition=partition.partition, offset=partition.offset)
            except KafkaException as error:
                for partition in offsets:
                    note(client, "commit", state="unknown", partition=partition.partition, offset=partition.offset)
                if error.args[0].fatal():
                    note(client, "error", why=f"commit: {error}")
        sys.stdout.flush()
        try:
            command = commands.get_nowait()
        except queue.Empty:
            continue
        if command[0] in ("stop", "end"):
            consumer.close()
            done("stop")
            return


if __name__ == "__main__":
    threading.Thread(target=listen, daemon=True).start()
    {"all": everything, "group": member}[sys.argv[1]](*sys.argv[2:])
