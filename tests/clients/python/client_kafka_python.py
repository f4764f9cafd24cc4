"""kafka-python: a client of its own, in Python alone."""
import sys
import time

import kafka
from kafka import ConsumerRebalanceListener, KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata

import agent
import members

TIMEOUT = 30


def coded(error):
    return agent.KafkaCode(error.errno, str(error)) if getattr(error, "errno", None) else error


STRATEGIES = {
    "range": RangePartitionAssignor,
    "roundrobin": RoundRobinPartitionAssignor,
    "cooperative-sticky": CooperativeStickyAssignor,
}


class Member(members.Member):
    def __init__(self, base, c):
        super().__init__(c)
        self.config = {**base, "group_id": c["group"], "auto_offset_reset": c["reset"]}
        self.config["enable_auto_commit"] = c["commit"] == "auto"
        if c.get("strategy") is not None:
            self.config["partition_assignment_strategy"] = (STRATEGIES[c["strategy"]],)
        if c.get("instance") is not None:
            self.config["group_instance_id"] = c["instance"]
        if c.get("session_ms") is not None:
            self.config["session_timeout_ms"] = c["session_ms"]
            self.config["heartbeat_interval_ms"] = c["session_ms"] // 6
        self.incremental = c.get("strategy") == "cooperative-sticky"
        self.consumer = None

    def open(self):
        member = self

        class Listener(ConsumerRebalanceListener):
            def on_partitions_assigned(self, assigned):
                member.on_assigned([tuple(p) for p in assigned], member.incremental)

            def on_partitions_revoked(self, revoked):
                member.on_revoked([tuple(p) for p in revoked])

            def on_partitions_lost(self, lost):
                member.on_revoked([tuple(p) for p in lost], "lost")

        self.consumer = KafkaConsumer(**self.config)
        self.consumer.subscribe(
            topics=self.command.get("topics") or (), pattern=self.command.get("pattern"), listener=Listener()
        )
        # A rebalance that it begins because it learnt of partitions after joining, and whose answer comes after the
        # poll that began it, is never finished: the comparison that began it is equal again, and so nobody waits.
        for topic in self.command.get("topics") or ():
            self.consumer.partitions_for_topic(topic)

    def poll(self):
        return [(r.topic, r.partition, r.offset) for batch in self.consumer.poll(500).values() for r in batch]

    def commit_now(self, offsets):
        self.consumer.commit({TopicPartition(*p): OffsetAndMetadata(offset, "", -1) for p, offset in offsets.items()}, TIMEOUT * 1000)

    def close(self):
        self.consumer.close()

    def generation(self):
        return None if self.consumer is None else self.consumer.group_metadata().generation_id


class Client(members.Members):
    member_class = Member

    def __init__(self, bootstrap):
        self.base = {"bootstrap_servers": bootstrap}
        self.admin = KafkaAdminClient(**self.base)
        self.producers = {}
        self.reader = None

    def hello(self, _):
        return {"client": f"kafka-python {kafka.__version__}"}

    # Administration

    def create_topic(self, c):
        try:
            self.admin.create_topics({c["topic"]: {"num_partitions": c["partitions"], "configs": c["configs"]}})
        except KafkaError as error:
            raise coded(error)

    def list_topics(self, _):
        return {"topics": self.admin.list_topics()}

    def describe_topic(self, c):
        topic = self.admin.describe_topics([c["topic"]])[0]
        if topic["error_code"]:
            raise agent.KafkaCode(topic["error_code"])
        partitions = topic["partitions"]
        return {"partitions": len(partitions), "leaders": [p["leader_id"] for p in partitions]}

    def describe_configs(self, c):
        answer = self.admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, c["topic"])], config_filter="all")
        entries = answer["topic"][c["topic"]]
        return {"configs": {name: entry["value"] for name, entry in entries.items()}}

    def alter_configs(self, c):
        try:
            self.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, c["topic"], c["configs"])])
        except KafkaError as error:
            raise coded(error)

    def create_partitions(self, c):
        try:
            self.admin.create_partitions({c["topic"]: c["total"]})
        except KafkaError as error:
            raise coded(error)

    def delete_records(self, c):
        partition = TopicPartition(c["topic"], c["partition"])
        return {"low_watermark": self.admin.delete_records({partition: c["before"]})[partition]["low_watermark"]}

    def delete_topic(self, c):
        try:
            self.admin.delete_topics([c["topic"]])
        except KafkaError as error:
            raise coded(error)

    # Records

    def producer(self, c):
        config = dict(self.base)
        if c.get("codec") is not None:
            config["compression_type"] = None if c["codec"] == "none" else c["codec"]
            config["linger_ms"] = 20  # whole batches, so that there is something to compress
        if c.get("acks") is not None:
            config["acks"] = "all" if c["acks"] == -1 else c["acks"]
        if c.get("idempotence") is not None:
            config["enable_idempotence"] = c["idempotence"]
        name = repr(config)
        if name not in self.producers:
            self.producers[name] = KafkaProducer(**config)
        return self.producers[name]

    def send(self, c, records):
        producer = self.producer(c)
        futures = [
            producer.send(c["topic"], partition=partition, key=key, value=value, headers=headers, timestamp_ms=timestamp)
            for partition, key, value, headers, timestamp in records
        ]
        producer.flush(TIMEOUT)
        try:
            return [future.get(TIMEOUT).offset for future in futures]
        except KafkaError as error:
            raise coded(error)

    def produce(self, c):
        return {"offsets": self.send(c, [(c["partition"], *r) for r in agent.records_of(c)])}

    def produce_numbers(self, c):
        return {"acknowledged": len(self.send(c, [(p, None, v, [], None) for p, v in agent.numbered(c)]))}

    def consumer(self):
        if self.reader is None:
            self.reader = KafkaConsumer(**self.base, enable_auto_commit=False, group_id=None)
        return self.reader

    def consume(self, c):
        consumer = self.consumer()
        partition = TopicPartition(c["topic"], c["partition"])
        consumer.assign([partition])
        consumer.seek(partition, c["from"])
        records = []
        deadline = time.monotonic() + TIMEOUT
        while len(records) < c["count"]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(records)} of {c['count']} records after {TIMEOUT} s")
            for got in consumer.poll(200, max_records=c["count"] - len(records)).values():
                records.extend(
                    agent.seen(r.offset, r.timestamp, r.timestamp_type, r.key, r.value, r.headers) for r in got
                )
        return {"records": records}

    def offsets(self, c):
        partition = TopicPartition(c["topic"], c["partition"])
        consumer = self.consumer()
        return {
            "begin": consumer.beginning_offsets([partition])[partition],
            "end": consumer.end_offsets([partition])[partition],
        }

    def offset_for_time(self, c):
        partition = TopicPartition(c["topic"], c["partition"])
        found = self.consumer().offsets_for_times({partition: c["timestamp"]})[partition]
        return {"offset": None if found is None or found.offset < 0 else found.offset}

    # Groups

    def committed(self, c):
        told = self.admin.list_group_offsets(c["group"])[c["group"]]
        return {"offsets": {str(p.partition): o.offset for p, o in told.items() if p.topic == c["topic"] and o.offset >= 0}}

    def commit_standalone(self, c):
        consumer = KafkaConsumer(**self.base, enable_auto_commit=False, group_id=c["group"])
        partition = TopicPartition(c["topic"], c["partition"])
        try:
            consumer.assign([partition])
            consumer.commit({partition: OffsetAndMetadata(c["offset"], "", -1)})
        except KafkaError as error:
            raise coded(error)
        finally:
            consumer.close()

    def list_groups(self, _):
        return {"groups": [group["group_id"] for group in self.admin.list_groups()]}

    def describe_group(self, c):
        told = self.admin.describe_groups([c["group"]])[c["group"]]
        return {"state": told["group_state"], "members": len(told["members"])}

    def delete_group(self, c):
        told = self.admin.delete_groups([c["group"]])[c["group"]]
        if told != "OK":
            raise coded(getattr(kafka.errors, told)())


if __name__ == "__main__":
    agent.serve(Client(sys.argv[1]))
