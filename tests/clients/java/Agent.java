import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.zip.CRC32;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ApiException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.AppInfoParser;

/**
 * Apache Kafka's own client. Commands come as one JSON object a line on standard input, answers go out the same way
 * (see agent.rs); the end of the input ends the program.
 */
public class Agent {
    static final ObjectMapper JSON = new ObjectMapper();
    static final Duration TIMEOUT = Duration.ofSeconds(30);
    /** Values longer than this are reported as length and CRC-32. */
    static final int DIGEST_ABOVE = 1024;

    final String bootstrap;
    final Admin admin;
    final Map<String, KafkaProducer<byte[], byte[]>> producers = new HashMap<>();
    final Map<String, List<Pattern>> files = new HashMap<>();
    KafkaConsumer<byte[], byte[]> consumer;
    final Groups groups;
    Stream stream;

    record Pattern(byte[] key, byte[] value, List<Header> headers, Long timestamp) {}

    Agent(String bootstrap) {
        this.bootstrap = bootstrap;
        this.admin = Admin.create(Map.of("bootstrap.servers", bootstrap));
        this.groups = new Groups(bootstrap, admin);
    }

    public static void main(String[] arguments) throws Exception {
        Agent agent = new Agent(arguments[0]);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            System.out.println(JSON.writeValueAsString(agent.answer(JSON.readTree(line))));
        }
        System.exit(0);
    }

    ObjectNode answer(JsonNode command) {
        ObjectNode answer = JSON.createObjectNode();
        try {
            run(command, answer);
        } catch (ExecutionException error) {
            told(answer, error.getCause());
        } catch (Throwable error) {
            told(answer, error);
        }
        return answer;
    }

    static void told(ObjectNode answer, Throwable error) {
        if (error instanceof ApiException) {
            answer.put("code", Errors.forException(error).code());
        }
        answer.put("error", error.toString());
    }

    void run(JsonNode c, ObjectNode answer) throws Exception {
        String topic = c.path("topic").asText();
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        switch (c.get("do").asText()) {
            case "hello" -> answer.put("client", "kafka-clients " + AppInfoParser.getVersion());
            case "create_topic" -> {
                Map<String, String> configs = new HashMap<>();
                c.get("configs").properties().forEach(e -> configs.put(e.getKey(), e.getValue().asText()));
                NewTopic created = new NewTopic(topic, c.get("partitions").asInt(), (short) -1).configs(configs);
                get(admin.createTopics(List.of(created)).all());
            }
            case "list_topics" -> {
                ArrayNode topics = answer.putArray("topics");
                get(admin.listTopics().names()).forEach(topics::add);
            }
            case "describe_topic" -> {
                TopicDescription told = get(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic);
                answer.put("partitions", told.partitions().size());
                ArrayNode leaders = answer.putArray("leaders");
                told.partitions().forEach(p -> leaders.add(p.leader() == null ? -1 : p.leader().id()));
            }
            case "describe_configs" -> {
                Config config = get(admin.describeConfigs(List.of(resource)).all()).get(resource);
                ObjectNode configs = answer.putObject("configs");
                config.entries().forEach(e -> configs.put(e.name(), e.value()));
            }
            case "alter_configs" -> {
                Collection<AlterConfigOp> changes = new ArrayList<>();
                c.get("configs").properties().forEach(e -> changes.add(new AlterConfigOp(
                    new ConfigEntry(e.getKey(), e.getValue().asText()), AlterConfigOp.OpType.SET)));
                get(admin.incrementalAlterConfigs(Map.of(resource, changes)).all());
            }
            case "create_partitions" -> get(admin.createPartitions(
                Map.of(topic, NewPartitions.increaseTo(c.get("total").asInt()))).all());
            case "delete_records" -> {
                TopicPartition partition = partition(c);
                long low = get(admin.deleteRecords(Map.of(partition,
                    RecordsToDelete.beforeOffset(c.get("before").asLong()))).lowWatermarks().get(partition)).lowWatermark();
                answer.put("low_watermark", low);
            }
            case "delete_topic" -> get(admin.deleteTopics(List.of(topic)).all());
            case "produce" -> produce(c, answer);
            case "produce_numbers" -> produceNumbers(c, answer);
            case "consume" -> consume(c, answer);
            case "offsets" -> {
                List<TopicPartition> one = List.of(partition(c));
                answer.put("begin", consumer().beginningOffsets(one, TIMEOUT).get(partition(c)));
                answer.put("end", consumer().endOffsets(one, TIMEOUT).get(partition(c)));
            }
            case "offset_for_time" -> {
                OffsetAndTimestamp found = consumer()
                    .offsetsForTimes(Map.of(partition(c), c.get("timestamp").asLong()), TIMEOUT).get(partition(c));
                if (found == null) {
                    answer.putNull("offset");
                } else {
                    answer.put("offset", found.offset());
                }
            }
            case "stream_start" -> {
                Map<String, Object> config = new HashMap<>();
                config.put("bootstrap.servers", bootstrap);
                config.put("delivery.timeout.ms", 120_000);
                config.put("max.block.ms", 120_000);
                config.put("linger.ms", 5);
                stream = new Stream(config, topic, c.get("partitions").asInt());
                stream.start();
            }
            case "stream_status" -> stream.status(answer);
            case "stream_stop" -> {
                stream.stopping = true;
                stream.join(120_000);
                stream.status(answer);
            }
            default -> {
                if (!groups.run(c, answer)) {
                    answer.put("unsupported", true);
                }
            }
        }
    }

    static <T> T get(KafkaFuture<T> future) throws Exception {
        return future.get(TIMEOUT.toSeconds(), TimeUnit.SECONDS);
    }

    static TopicPartition partition(JsonNode c) {
        return new TopicPartition(c.get("topic").asText(), c.get("partition").asInt());
    }

    KafkaProducer<byte[], byte[]> producer(JsonNode c) {
        Map<String, Object> config = new HashMap<>();
        config.put("bootstrap.servers", bootstrap);
        if (c.hasNonNull("codec")) {
            config.put("compression.type", c.get("codec").asText());
            config.put("linger.ms", 20); // whole batches, so that there is something to compress
        }
        if (c.hasNonNull("acks")) {
            config.put("acks", c.get("acks").asText());
        }
        if (c.hasNonNull("idempotence")) {
            config.put("enable.idempotence", c.get("idempotence").asBoolean());
        }
        return producers.computeIfAbsent(config.toString(),
            name -> new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer()));
    }

    void produce(JsonNode c, ObjectNode answer) throws Exception {
        KafkaProducer<byte[], byte[]> producer = producer(c);
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (Pattern p : patterns(c.get("file").asText())) {
            sent.add(producer.send(new ProducerRecord<>(
                c.get("topic").asText(), c.get("partition").asInt(), p.timestamp, p.key, p.value, p.headers)));
        }
        producer.flush();
        ArrayNode offsets = answer.putArray("offsets");
        for (Future<RecordMetadata> one : sent) {
            offsets.add(one.get().offset());
        }
    }

    void produceNumbers(JsonNode c, ObjectNode answer) throws Exception {
        KafkaProducer<byte[], byte[]> producer = producer(c);
        int partitions = c.get("partitions").asInt();
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (int number = 0; number < c.get("count").asInt(); number++) {
            byte[] value = Integer.toString(number).getBytes(StandardCharsets.US_ASCII);
            sent.add(producer.send(new ProducerRecord<>(c.get("topic").asText(), number % partitions, null, value)));
        }
        producer.flush();
        for (Future<RecordMetadata> one : sent) {
            one.get();
        }
        answer.put("acknowledged", sent.size());
    }

    List<Pattern> patterns(String path) throws Exception {
        List<Pattern> known = files.get(path);
        if (known == null) {
            known = new ArrayList<>();
            for (JsonNode r : JSON.readTree(new File(path))) {
                List<Header> headers = new ArrayList<>();
                for (JsonNode h : r.get("headers")) {
                    headers.add(new RecordHeader(h.get(0).asText(), bytes(h.get(1))));
                }
                Long timestamp = r.get("timestamp").isNull() ? null : r.get("timestamp").asLong();
                known.add(new Pattern(bytes(r.get("key")), bytes(r.get("value")), headers, timestamp));
            }
            files.put(path, known);
        }
        return known;
    }

    static byte[] bytes(JsonNode text) {
        return text.isNull() ? null : Base64.getDecoder().decode(text.asText());
    }

    static String text(byte[] bytes) {
        return bytes == null ? null : Base64.getEncoder().encodeToString(bytes);
    }

    KafkaConsumer<byte[], byte[]> consumer() {
        if (consumer == null) {
            consumer = new KafkaConsumer<>(Map.of("bootstrap.servers", bootstrap, "enable.auto.commit", false),
                new ByteArrayDeserializer(), new ByteArrayDeserializer());
        }
        return consumer;
    }

    void consume(JsonNode c, ObjectNode answer) {
        TopicPartition partition = partition(c);
        consumer().assign(List.of(partition));
        consumer.seek(partition, c.get("from").asLong());
        int wanted = c.get("count").asInt();
        ArrayNode records = answer.putArray("records");
        long deadline = System.nanoTime() + TIMEOUT.toNanos();
        while (records.size() < wanted) {
            if (System.nanoTime() > deadline) {
                throw new IllegalStateException(records.size() + " of " + wanted + " records after " + TIMEOUT);
            }
            for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(200))) {
                if (records.size() < wanted) {
                    records.add(seen(r));
                }
            }
        }
        consumer.unsubscribe();
    }

    static ObjectNode seen(ConsumerRecord<byte[], byte[]> r) {
        ObjectNode seen = JSON.createObjectNode();
        seen.put("offset", r.offset());
        seen.put("timestamp", r.timestamp());
        seen.put("timestamp_type", r.timestampType().id);
        seen.put("key", text(r.key()));
        ArrayNode headers = seen.putArray("headers");
        for (Header h : r.headers()) {
            headers.addArray().add(h.key()).add(text(h.value()));
        }
        if (r.value() != null && r.value().length > DIGEST_ABOVE) {
            CRC32 crc = new CRC32();
            crc.update(r.value());
            seen.putArray("digest").add(r.value().length).add(crc.getValue());
        } else {
            seen.put("value", text(r.value()));
        }
        return seen;
    }
}
