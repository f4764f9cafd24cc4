import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.FutureTask;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** A member of a consumer group, consuming on a thread of its own; what happens to it is kept (see python/members.py). */
class Member extends Thread implements ConsumerRebalanceListener {
    static final Map<String, String> STRATEGIES = Map.of(
        "range", "org.apache.kafka.clients.consumer.RangeAssignor",
        "roundrobin", "org.apache.kafka.clients.consumer.RoundRobinAssignor",
        "sticky", "org.apache.kafka.clients.consumer.StickyAssignor",
        "cooperative-sticky", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor");

    final Map<String, Object> config = new HashMap<>();
    final JsonNode command;
    final String commits;
    final BlockingQueue<FutureTask<?>> requests = new LinkedBlockingQueue<>();
    volatile boolean ending;
    KafkaConsumer<byte[], byte[]> consumer;

    // Guarded by `this`.
    final TreeSet<String> assigned = new TreeSet<>();
    final Map<String, TopicPartition> partitions = new HashMap<>();
    final List<ArrayNode> events = new ArrayList<>();
    final List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
    final Map<TopicPartition, Long> next = new HashMap<>();
    final Map<String, Long> acknowledged = new TreeMap<>();
    final List<String> failed = new ArrayList<>();
    Integer generation;

    Member(String bootstrap, JsonNode c) {
        command = c;
        commits = c.get("commit").asText();
        boolean modern = c.path("protocol").asText().equals("consumer");
        config.put("bootstrap.servers", bootstrap);
        config.put("group.id", c.get("group").asText());
        config.put("auto.offset.reset", c.get("reset").asText());
        config.put("enable.auto.commit", commits.equals("auto"));
        if (modern) {
            config.put("group.protocol", "consumer");
        }
        if (c.hasNonNull("strategy")) {
            String strategy = c.get("strategy").asText();
            config.put(modern ? "group.remote.assignor" : "partition.assignment.strategy",
                modern ? strategy : STRATEGIES.get(strategy));
        }
        if (c.hasNonNull("instance")) {
            config.put("group.instance.id", c.get("instance").asText());
        }
        if (c.hasNonNull("session_ms") && !modern) {
            config.put("session.timeout.ms", c.get("session_ms").asInt());
            config.put("heartbeat.interval.ms", c.get("session_ms").asInt() / 6);
        }
        setDaemon(true);
    }

    @Override
    public void run() {
        try {
            consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
            subscribe();
            while (!ending) {
                List<ConsumerRecord<byte[], byte[]>> batch = new ArrayList<>();
                consumer.poll(Duration.ofMillis(100)).forEach(batch::add);
                consumed(batch);
                for (FutureTask<?> request = requests.poll(); request != null; request = requests.poll()) {
                    request.run();
                }
            }
            consumer.close();
        } catch (Throwable error) {
            synchronized (this) {
                failed.add(error.toString());
            }
        }
    }

    void subscribe() {
        if (command.hasNonNull("topics")) {
            List<String> topics = new ArrayList<>();
            command.get("topics").forEach(t -> topics.add(t.asText()));
            consumer.subscribe(topics, this);
        } else if (config.containsKey("group.protocol")) {
            consumer.subscribe(new SubscriptionPattern(command.get("pattern").asText()), this);
        } else {
            consumer.subscribe(Pattern.compile(command.get("pattern").asText()), this);
        }
    }

    void consumed(List<ConsumerRecord<byte[], byte[]>> batch) {
        int generationNow = consumer.groupMetadata().generationId();
        synchronized (this) {
            generation = generationNow;
            records.addAll(batch);
            batch.forEach(r -> next.put(new TopicPartition(r.topic(), r.partition()), r.offset() + 1));
        }
        if (!batch.isEmpty() && commits.equals("batch")) {
            try {
                commit();
            } catch (RuntimeException error) {
                event("refused", List.of()).add(error.toString());
            }
        }
    }

    /** Commits what was consumed of the partitions that are assigned. */
    Map<String, Long> commit() {
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        Map<String, Long> told = new TreeMap<>();
        synchronized (this) {
            next.forEach((partition, offset) -> {
                if (assigned.contains(partition.toString())) {
                    offsets.put(partition, new OffsetAndMetadata(offset));
                    told.put(partition.toString(), offset);
                }
            });
        }
        if (!offsets.isEmpty()) {
            consumer.commitSync(offsets);
        }
        synchronized (this) {
            told.forEach((partition, offset) -> acknowledged.merge(partition, offset, Math::max));
        }
        return told;
    }

    /** What `work` gives on the member's thread. */
    <T> T ask(java.util.concurrent.Callable<T> work) throws Exception {
        FutureTask<T> request = new FutureTask<>(work);
        requests.add(request);
        return request.get(60, TimeUnit.SECONDS);
    }

    synchronized ArrayNode event(String what, Collection<TopicPartition> about) {
        ArrayNode event = Agent.JSON.createArrayNode().add(what);
        ArrayNode list = event.addArray();
        about.forEach(p -> list.addArray().add(p.topic()).add(p.partition()));
        events.add(event);
        return event;
    }

    @Override
    public synchronized void onPartitionsAssigned(Collection<TopicPartition> more) {
        more.forEach(p -> {
            assigned.add(p.toString());
            partitions.put(p.toString(), p);
        });
        event("assigned", more);
    }

    @Override
    public synchronized void onPartitionsRevoked(Collection<TopicPartition> gone) {
        gone.forEach(p -> {
            assigned.remove(p.toString());
            next.remove(p);
        });
        event("revoked", gone);
    }

    @Override
    public synchronized void onPartitionsLost(Collection<TopicPartition> gone) {
        onPartitionsRevoked(gone);
        events.get(events.size() - 1).set(0, "lost");
    }

    synchronized void status(int first, ObjectNode answer) {
        ArrayNode list = answer.putArray("assigned");
        assigned.forEach(name -> list.addArray().add(partitions.get(name).topic()).add(partitions.get(name).partition()));
        answer.putArray("events").addAll(events);
        ArrayNode seen = answer.putArray("records");
        records.subList(first, records.size())
            .forEach(r -> seen.addArray().add(r.topic()).add(r.partition()).add(r.offset()));
        acknowledged.forEach(answer.putObject("commits")::put);
        failed.forEach(answer.putArray("failed")::add);
        answer.put("alive", isAlive());
        answer.put("generation", generation);
    }
}
