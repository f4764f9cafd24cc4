"""confluent-kafka: the C client librdkafka under Python."""
import sys
import threading
import time

import confluent_kafka
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic, OffsetSpec, ResourceType,
)

import agent
import members

TIMEOUT = 30


def result(futures):
    try:
        return next(iter(futures.values())).result(TIMEOUT)
    except KafkaException as error:
        raise agent.KafkaCode(error.args[0].code(), error.args[0].str())


class Member(members.Member):
    def __init__(self, base, c):
        super().__init__(c)
        self.config = {**base, "group.id": c["group"], "auto.offset.reset": c["reset"]}
        self.config["enable.auto.commit"] = c["commit"] == "auto"
        new = c["protocol"] == "consumer"
        if new:
            self.config["group.protocol"] = "consumer"
        if c.get("strategy") is not None:
            self.config["group.remote.assignor" if new else "partition.assignment.strategy"] = c["strategy"]
        if c.get("instance") is not None:
            self.config["group.instance.id"] = c["instance"]
        if c.get("session_ms") is not None and not new:
            self.config["session.timeout.ms"] = c["session_ms"]
            self.config["heartbeat.interval.ms"] = c["session_ms"] // 6
        self.incremental = new or c.get("strategy") == "cooperative-sticky"

    def open(self):
        self.consumer = Consumer(self.config)
        pairs = lambda partitions: [(p.topic, p.partition) for p in partitions]
        self.consumer.subscribe(
            self.command.get("topics") or [self.command["pattern"]],
            on_assign=lambda _, partitions: self.on_assigned(pairs(partitions), self.incremental),
            on_revoke=lambda _, partitions: self.on_revoked(pairs(partitions)),
            on_lost=lambda _, partitions: self.on_revoked(pairs(partitions), "lost"),
        )

    def poll(self):
        batch = []
        for message in self.consumer.consume(500, 0.1):
            if message.error() is None:
                batch.append((message.topic(), message.partition(), message.offset()))
            elif not message.error().retriable():
                self.events.append(["error", message.error().str()])
        return batch

    def commit_now(self, offsets):
        told = self.consumer.commit(
            offsets=[TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()],
            asynchronous=False,
        )
        for partition in told:
            if partition.error is not None:
                raise KafkaException(partition.error)

    def close(self):
        self.consumer.close()


class Client(members.Members):
    member_class = Member

    def __init__(self, bootstrap):
        self.base = {"bootstrap.servers": bootstrap}
        self.admin = AdminClient(self.base)
        self.producers = {}
        self.reader = None
        self.stream = None

    def hello(self, _):
        return {"client": f"confluent-kafka {confluent_kafka.__version__}, librdkafka {confluent_kafka.libversion()[0]}"}

    # Administration

    def create_topic(self, c):
        result(self.admin.create_topics([NewTopic(c["topic"], c["partitions"], config=c["configs"])]))

    def list_topics(self, _):
        return {"topics": list(self.admin.list_topics(timeout=TIMEOUT).topics)}

    def describe_topic(self, c):
        topic = self.admin.list_topics(c["topic"], timeout=TIMEOUT).topics[c["topic"]]
        if topic.error is not None:
            raise agent.KafkaCode(topic.error.code(), topic.error.str())
        return {"partitions": len(topic.partitions), "leaders": [p.leader for p in topic.partitions.values()]}

    def describe_configs(self, c):
        entries = result(self.admin.describe_configs([ConfigResource(ResourceType.TOPIC, c["topic"])]))
        return {"configs": {name: entry.value for name, entry in entries.items()}}

    def alter_configs(self, c):
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in c["configs"].items()
        ]
        resource = ConfigResource(ResourceType.TOPIC, c["topic"], incremental_configs=entries)
        result(self.admin.incremental_alter_configs([resource]))

    def create_partitions(self, c):
        result(self.admin.create_partitions([NewPartitions(c["topic"], c["total"])]))

    def delete_records(self, c):
        deleted = result(self.admin.delete_records([TopicPartition(c["topic"], c["partition"], c["before"])]))
        return {"low_watermark": deleted.low_watermark}

    def delete_topic(self, c):
        result(self.admin.delete_topics([c["topic"]]))

    # Records

    def producer(self, c):
        config = dict(self.base)
        if c.get("codec") is not None:
            config["compression.type"] = c["codec"]
            config["linger.ms"] = 20  # whole batches, so that there is something to compress
        if c.get("acks") is not None:
            config["acks"] = c["acks"]
        if c.get("idempotence") is not None:
            config["enable.idempotence"] = c["idempotence"]
        name = repr(config)
        if name not in self.producers:
            self.producers[name] = Producer(config)
        return self.producers[name]

    def send(self, c, records):
        producer = self.producer(c)
        reports = []

        def delivered(error, message):
            # acks=0 has no offset to tell. (A message without a value is false: no `and` here.)
            offset = None if message is None else message.offset()
            reports.append((error, -1 if offset is None else offset))

        for partition, key, value, headers, timestamp in records:
            kind = {} if timestamp is None else {"timestamp": timestamp}
            while True:
                try:
                    producer.produce(
                        c["topic"], partition=partition, key=key, value=value, headers=headers, on_delivery=delivered, **kind
                    )
                    break
                except BufferError:
                    producer.poll(0.1)
        left = producer.flush(TIMEOUT)
        for error, _ in reports:
            if error is not None:
                raise agent.KafkaCode(error.code(), error.str())
        if left:
            raise TimeoutError(f"{left} records not acknowledged after {TIMEOUT} s")
        return [offset for _, offset in reports]

    def produce(self, c):
        return {"offsets": self.send(c, [(c["partition"], *r) for r in agent.records_of(c)])}

    def produce_numbers(self, c):
        offsets = self.send(c, [(p, None, v, None, None) for p, v in agent.numbered(c)])
        return {"acknowledged": len(offsets)}

    def consumer(self):
        if self.reader is None:
            # librdkafka wants a group id even where no group is ever joined.
            self.reader = Consumer({**self.base, "group.id": "unused", "enable.auto.commit": False})
        return self.reader

    def consume(self, c):
        consumer = self.consumer()
        consumer.assign([TopicPartition(c["topic"], c["partition"], c["from"])])
        records = []
        deadline = time.monotonic() + TIMEOUT
        while len(records) < c["count"]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(records)} of {c['count']} records after {TIMEOUT} s")
            for message in consumer.consume(c["count"] - len(records), 0.2):
                if message.error() is not None:
                    raise agent.KafkaCode(message.error().code(), message.error().str())
                kind, timestamp = message.timestamp()
                records.append(
                    agent.seen(
                        message.offset(), timestamp, kind - 1, message.key(), message.value(), message.headers()
                    )
                )
        consumer.unassign()
        return {"records": records}

    def offsets(self, c):
        low, high = self.consumer().get_watermark_offsets(TopicPartition(c["topic"], c["partition"]), TIMEOUT)
        return {"begin": low, "end": high}

    def offset_for_time(self, c):
        asked = TopicPartition(c["topic"], c["partition"], c["timestamp"])
        found = self.consumer().offsets_for_times([asked], TIMEOUT)[0]
        if found.error is not None:
            raise agent.KafkaCode(found.error.code(), found.error.str())
        return {"offset": None if found.offset < 0 else found.offset}

    # Groups

    def committed(self, c):
        told = result(self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(c["group"])]))
        return {
            "offsets": {str(p.partition): p.offset for p in told.topic_partitions if p.topic == c["topic"] and p.offset >= 0}
        }

    def commit_standalone(self, c):
        consumer = Consumer({**self.base, "group.id": c["group"], "enable.auto.commit": False})
        partition = TopicPartition(c["topic"], c["partition"], c["offset"])
        try:
            consumer.assign([partition])
            told = consumer.commit(offsets=[partition], asynchronous=False)
            if told[0].error is not None:
                raise agent.KafkaCode(told[0].error.code(), told[0].error.str())
        except KafkaException as error:
            raise agent.KafkaCode(error.args[0].code(), error.args[0].str())
        finally:
            consumer.close()

    def list_groups(self, _):
        return {"groups": [group.group_id for group in self.admin.list_consumer_groups().result(TIMEOUT).valid]}

    def describe_group(self, c):
        told = result(self.admin.describe_consumer_groups([c["group"]]))
        return {"state": told.state.name.title().replace("_", ""), "members": len(told.members)}

    def delete_group(self, c):
        result(self.admin.delete_consumer_groups([c["group"]]))

    # A stream that goes on while the broker dies and comes back

    def stream_start(self, c):
        self.stream = Stream({**self.base, "enable.idempotence": True, "linger.ms": 5}, c["topic"], c["partitions"])

    def stream_status(self, _):
        return self.stream.status()

    def stream_stop(self, _):
        return self.stream.stop()


class Stream:
    def __init__(self, config, topic, partitions):
        self.producer = Producer({**config, "message.timeout.ms": 120_000, "reconnect.backoff.max.ms": 500})
        self.topic = topic
        self.sent = [0] * partitions
        self.acknowledged = [0] * partitions
        self.failed = []
        self.stopping = False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def delivered(self, error, message):
        if error is not None:
            self.failed.append(error.str())
        else:
            self.acknowledged[message.partition()] += 1

    def run(self):
        while not self.stopping:
            for partition, number in enumerate(self.sent):
                self.producer.produce(
                    self.topic, partition=partition, value=b"%d" % number, on_delivery=self.delivered
                )
                self.sent[partition] += 1
            # A bounded pace: about two thousand records a second, and room for what waits for the broker.
            self.producer.poll(0.0015 if len(self.producer) < 20_000 else 0.1)
        self.producer.flush(120)

    def status(self):
        return {"sent": self.sent, "acknowledged": self.acknowledged, "failed": self.failed[:5]}

    def stop(self):
        self.stopping = True
        self.thread.join(120)
        return self.status()


if __name__ == "__main__":
    agent.serve(Client(sys.argv[1]))
