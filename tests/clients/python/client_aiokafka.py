"""aiokafka: the asyncio client."""
import asyncio
import sys

import aiokafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import KafkaError

import agent
import members

TIMEOUT = 30


def coded(error):
    return agent.KafkaCode(error.errno, str(error)) if getattr(error, "errno", None) else error


STRATEGIES = {"range": RangePartitionAssignor, "roundrobin": RoundRobinPartitionAssignor}


class Member(members.Member):
    """Its thread runs an event loop of its own, so that heartbeats go on between commands."""

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
        self.consumer = None
        self.loop = None

    def open(self):
        self.loop = asyncio.new_event_loop()
        self.loop.run_until_complete(self.started())

    async def started(self):
        member = self

        class Listener(ConsumerRebalanceListener):
            def on_partitions_assigned(self, assigned):
                member.on_assigned([tuple(p) for p in assigned], False)

            def on_partitions_revoked(self, revoked):
                if revoked:
                    member.on_revoked([tuple(p) for p in revoked])

        self.consumer = AIOKafkaConsumer(**self.config)
        self.consumer.subscribe(
            topics=self.command.get("topics") or (), pattern=self.command.get("pattern"), listener=Listener()
        )
        await self.consumer.start()

    def poll(self):
        return self.loop.run_until_complete(self.polled())

    async def polled(self):
        batches = await self.consumer.getmany(timeout_ms=100)
        batch = [(r.topic, r.partition, r.offset) for records in batches.values() for r in records]
        return batch

    def commit_now(self, offsets):
        self.loop.run_until_complete(self.consumer.commit({TopicPartition(*p): o for p, o in offsets.items()}))

    def close(self):
        self.loop.run_until_complete(self.consumer.stop())


class Client(members.Members):
    """Each command runs to its end on one event loop, which stands still between commands."""

    member_class = Member

    def __init__(self, bootstrap):
        self.loop = asyncio.new_event_loop()
        self.base = {"bootstrap_servers": bootstrap}
        self.admin = None
        self.producers = {}
        self.reader = None

    def __getattr__(self, name):
        work = getattr(type(self), f"async_{name}", None)
        if work is None:
            raise AttributeError(name)
        return lambda command: self.loop.run_until_complete(self.bounded(work(self, command)))

    async def bounded(self, work):
        try:
            return await asyncio.wait_for(work, TIMEOUT)
        except KafkaError as error:
            raise coded(error)

    async def administrator(self):
        if self.admin is None:
            self.admin = AIOKafkaAdminClient(**self.base)
            await self.admin.start()
        return self.admin

    async def async_hello(self, _):
        return {"client": f"aiokafka {aiokafka.__version__}"}

    # Administration: the answers are Kafka's own, errors are looked for here.

    async def async_create_topic(self, c):
        topic = NewTopic(c["topic"], c["partitions"], 1, topic_configs=c["configs"])
        answer = await (await self.administrator()).create_topics([topic])
        self.check(answer.topic_errors[0])

    @staticmethod
    def check(topic_error):
        if topic_error[1]:
            raise agent.KafkaCode(topic_error[1], repr(topic_error))

    async def async_list_topics(self, _):
        return {"topics": await (await self.administrator()).list_topics()}

    async def async_describe_topic(self, c):
        topic = (await (await self.administrator()).describe_topics([c["topic"]]))[0]
        if topic["error_code"]:
            raise agent.KafkaCode(topic["error_code"])
        return {"partitions": len(topic["partitions"]), "leaders": [p["leader"] for p in topic["partitions"]]}

    async def async_describe_configs(self, c):
        answers = await (await self.administrator()).describe_configs(
            [ConfigResource(ConfigResourceType.TOPIC, c["topic"])]
        )
        entries = answers[0].resources[0][4]
        return {"configs": {entry[0]: entry[1] for entry in entries}}

    async def async_alter_configs(self, c):
        answers = await (await self.administrator()).alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, c["topic"], c["configs"])]
        )
        code, message = answers[0].resources[0][:2]
        if code:
            raise agent.KafkaCode(code, message)

    async def async_create_partitions(self, c):
        await (await self.administrator()).create_partitions({c["topic"]: NewPartitions(c["total"])})

    async def async_delete_records(self, c):
        partition = TopicPartition(c["topic"], c["partition"])
        answer = await (await self.administrator()).delete_records({partition: RecordsToDelete(c["before"])})
        return {"low_watermark": answer[partition]}

    async def async_delete_topic(self, c):
        answer = await (await self.administrator()).delete_topics([c["topic"]])
        self.check(answer.topic_error_codes[0])

    # Records

    async def producer(self, c):
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
            self.producers[name] = AIOKafkaProducer(**config)
            await self.producers[name].start()
        return self.producers[name]

    async def send(self, c, records):
        producer = await self.producer(c)
        futures = []
        for partition, key, value, headers, timestamp in records:
            futures.append(
                await producer.send(
                    c["topic"], partition=partition, key=key, value=value, headers=headers, timestamp_ms=timestamp
                )
            )
        await producer.flush()
        # acks=0 has no offset to tell, and then no metadata either.
        return [report.offset if report else -1 for report in await asyncio.gather(*futures)]

    async def async_produce(self, c):
        return {"offsets": await self.send(c, [(c["partition"], *r) for r in agent.records_of(c)])}

    async def async_produce_numbers(self, c):
        return {"acknowledged": len(await self.send(c, [(p, None, v, [], None) for p, v in agent.numbered(c)]))}

    async def consumer(self):
        if self.reader is None:
            self.reader = AIOKafkaConsumer(**self.base, enable_auto_commit=False, group_id=None)
            await self.reader.start()
        return self.reader

    async def async_consume(self, c):
        consumer = await self.consumer()
        partition = TopicPartition(c["topic"], c["partition"])
        consumer.assign([partition])
        consumer.seek(partition, c["from"])
        records = []
        while len(records) < c["count"]:
            got = await consumer.getmany(timeout_ms=200, max_records=c["count"] - len(records))
            for batch in got.values():
                records.extend(
                    agent.seen(r.offset, r.timestamp, r.timestamp_type, r.key, r.value, r.headers) for r in batch
                )
        consumer.unsubscribe()
        return {"records": records}

    async def async_offsets(self, c):
        partition = TopicPartition(c["topic"], c["partition"])
        consumer = await self.consumer()
        return {
            "begin": (await consumer.beginning_offsets([partition]))[partition],
            "end": (await consumer.end_offsets([partition]))[partition],
        }

    async def async_offset_for_time(self, c):
        partition = TopicPartition(c["topic"], c["partition"])
        found = (await (await self.consumer()).offsets_for_times({partition: c["timestamp"]}))[partition]
        return {"offset": None if found is None or found.offset < 0 else found.offset}

    # Groups

    async def async_committed(self, c):
        told = await (await self.administrator()).list_consumer_group_offsets(c["group"])
        return {"offsets": {str(p.partition): o.offset for p, o in told.items() if p.topic == c["topic"] and o.offset >= 0}}

    async def async_commit_standalone(self, c):
        consumer = AIOKafkaConsumer(**self.base, enable_auto_commit=False, group_id=c["group"])
        partition = TopicPartition(c["topic"], c["partition"])
        consumer.assign([partition])
        await consumer.start()
        try:
            await consumer.commit({partition: c["offset"]})
        finally:
            await consumer.stop()

    async def async_list_groups(self, _):
        return {"groups": [group[0] for group in await (await self.administrator()).list_consumer_groups()]}

    async def async_describe_group(self, c):
        told = (await (await self.administrator()).describe_consumer_groups([c["group"]]))[0].groups[0]
        return {"state": told[2], "members": len(told[5])}

    async def async_delete_group(self, _):
        raise agent.Unsupported


if __name__ == "__main__":
    agent.serve(Client(sys.argv[1]))
