import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedOutputStream;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.AppInfoParser;

/**
 * Apache Kafka's own client at work while brokers die, as librdkafka.py is: its history goes to standard output, in the format of
 * history.rs.
 *
 * <pre>all BOOTSTRAP TOPIC PARTITIONS FIRST_PRODUCER PER_SECOND</pre>
 *
 * produces to every partition, with default settings (idempotent, acks=all), and reads every partition from its start. On standard
 * input: {@code stop} ends the sending, {@code drain {"0": 17, ...}} the reading as soon as these offsets are reached; the end of the
 * input ends everything. A line {@code {"done": ...}} answers each.
 */
class Load {
    static final ObjectMapper JSON = new ObjectMapper();
    static final PrintStream OUT = new PrintStream(new BufferedOutputStream(System.out, 1 << 16), false, StandardCharsets.UTF_8);
    /** Records without an answer, at most. */
    static final int UNDER_WAY_MAX = 5_000;

    final String topic;
    final int partitions;
    final int first;
    final double perSecond;
    final Map<String, Object> bootstrap;

    Load(String[] arguments) {
        bootstrap = Map.of("bootstrap.servers", arguments[1]);
        topic = arguments[2];
        partitions = Integer.parseInt(arguments[3]);
        first = Integer.parseInt(arguments[4]);
        perSecond = Double.parseDouble(arguments[5]);
    }

    public static void main(String[] arguments) throws Exception {
        BlockingQueue<String> commands = new LinkedBlockingQueue<>();
        Thread listener = new Thread(() -> {
            try (BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
                in.lines().forEach(commands::add);
            } catch (Exception error) {
                System.err.println("standard input: " + error);
            }
            commands.add("end");
        });
        listener.setDaemon(true);
        listener.start();
        new Load(arguments).run(commands);
        System.exit(0);
    }

    void run(BlockingQueue<String> commands) throws Exception {
        Reader reader = new Reader();
        reader.start();
        Sender sender = new Sender();
        boolean sending = true;
        while (true) {
            if (sending) {
                sender.turn();
            }
            String command = commands.poll(10, TimeUnit.MILLISECONDS);
            if (command == null) {
                continue;
            }
            if (command.equals("stop")) {
                sending = false;
                sender.stop();
                done("stop");
            } else if (command.startsWith("drain ")) {
                reader.readTo(JSON.readTree(command.substring("drain ".length())));
                done("drain");
            } else {
                return;
            }
        }
    }

    /** A record as it was acknowledged or read. */
    record Place(long offset, long producer, long number) {}

    static ObjectNode line(String client, String op) {
        return JSON.createObjectNode().put("at", System.currentTimeMillis()).put("client", client).put("op", op);
    }

    static void write(Object line) {
        synchronized (OUT) {
            OUT.println(line);
        }
    }

    static void done(String what) {
        write("{\"done\": \"" + what + "\"}");
        OUT.flush();
    }

    static void told(String client) {
        write(line(client, "client").put("program", "kafka-clients " + AppInfoParser.getVersion()));
    }

    static void error(String client, String why) {
        write(line(client, "error").put("why", why));
        OUT.flush();
    }

    /** Consecutive numbers of one producer at consecutive offsets. */
    static List<ObjectNode> fold(List<Place> places) {
        List<ObjectNode> runs = new ArrayList<>();
        Place begun = null;
        long count = 0;
        for (Place place : places) {
            boolean follows = begun != null && begun.producer == place.producer
                && begun.offset + count == place.offset && begun.number + count == place.number;
            if (!follows) {
                begun = place;
                count = 0;
                runs.add(JSON.createObjectNode().put("offset", place.offset).put("producer", place.producer).put("first", place.number));
            }
            count++;
            runs.get(runs.size() - 1).put("count", count);
        }
        return runs;
    }

    class Sender {
        final String client = "java-" + first;
        final KafkaProducer<byte[], byte[]> producer;
        final long[] next = new long[partitions];
        final long begun = System.nanoTime();
        final AtomicInteger underWay = new AtomicInteger();
        final Map<Integer, List<Place>> acked = new HashMap<>();
        long sent;

        Sender() {
            told(client);
            producer = new KafkaProducer<>(bootstrap, new ByteArraySerializer(), new ByteArraySerializer());
            for (int partition = 0; partition < partitions; partition++) {
                write(line(client, "producer").put("producer", first + partition).put("idempotent", true));
            }
        }

        ObjectNode send(String state, int partition, long number, long count) {
            return line(client, "send").put("state", state).put("partition", partition).put("producer", first + partition)
                .put("first", number).put("count", count);
        }

        /** Sends what is due and notes what was acknowledged. */
        void turn() {
            long due = (long) ((System.nanoTime() - begun) / 1e9 * perSecond) - sent;
            if (due > 0 && underWay.get() < UNDER_WAY_MAX) {
                long share = (Math.min(due, 200) + partitions - 1) / partitions;
                for (int partition = 0; partition < partitions; partition++) {
                    write(send("invoke", partition, next[partition], share));
                    for (long number = next[partition]; number < next[partition] + share; number++) {
                        send(partition, number);
                    }
                    next[partition] += share;
                }
            }
            // What could not be sent in time is not caught up with.
            sent += Math.max(due, 0);
            tell();
        }

        void send(int partition, long number) {
            byte[] value = ((first + partition) + "/" + number + "/" + "z".repeat(60)).getBytes(StandardCharsets.US_ASCII);
            underWay.incrementAndGet();
            producer.send(new ProducerRecord<>(topic, partition, null, value), (metadata, failure) -> {
                underWay.decrementAndGet();
                if (failure == null && !metadata.hasOffset()) {
                    // DUPLICATE_SEQUENCE_NUMBER: it is there, and the broker has forgotten where.
                    write(send("ok", partition, number, 1));
                } else if (failure == null) {
                    synchronized (acked) {
                        acked.computeIfAbsent(partition, each -> new ArrayList<>())
                            .add(new Place(metadata.offset(), first + partition, number));
                    }
                } else {
                    error(client, "delivery to " + partition + ": " + failure);
                    write(send("unknown", partition, number, 1).put("why", failure.toString()));
                }
            });
        }

        void tell() {
            synchronized (acked) {
                acked.forEach((partition, places) -> {
                    for (ObjectNode run : fold(places)) {
                        write(send("ok", partition, run.get("first").asLong(), run.get("count").asLong()).set("offset", run.get("offset")));
                    }
                });
                acked.clear();
            }
            OUT.flush();
        }

        void stop() {
            producer.flush();
            tell();
        }
    }

    class Reader extends Thread {
        final String client = "java-reader-" + first;
        final KafkaConsumer<byte[], byte[]> consumer;
        final long[] position = new long[partitions];

        Reader() {
            setDaemon(true);
            told(client);
            Map<String, Object> config = new HashMap<>(bootstrap);
            config.put("auto.offset.reset", "none");
            config.put("enable.auto.commit", false);
            consumer = new KafkaConsumer<>(config, new ByteArrayDeserializer(), new ByteArrayDeserializer());
            List<TopicPartition> all = new ArrayList<>();
            for (int partition = 0; partition < partitions; partition++) {
                all.add(new TopicPartition(topic, partition));
                write(line(client, "assign").put("partition", partition).put("offset", 0));
            }
            consumer.assign(all);
            all.forEach(partition -> consumer.seek(partition, 0));
        }

        @Override
        public void run() {
            try {
                while (true) {
                    note(consumer.poll(Duration.ofMillis(200)));
                }
            } catch (Exception failure) {
                // Log truncation, an offset out of range: a user would have to decide what to do.
                error(client, "consume: " + failure);
            }
        }

        synchronized void note(ConsumerRecords<byte[], byte[]> records) {
            for (TopicPartition partition : records.partitions()) {
                List<Place> places = new ArrayList<>();
                for (ConsumerRecord<byte[], byte[]> record : records.records(partition)) {
                    String[] value = new String(record.value(), StandardCharsets.US_ASCII).split("/", 3);
                    places.add(new Place(record.offset(), Long.parseLong(value[0]), Long.parseLong(value[1])));
                    position[partition.partition()] = record.offset() + 1;
                }
                ArrayNode runs = JSON.createArrayNode().addAll(fold(places));
                write(line(client, "poll").put("partition", partition.partition()).set("runs", runs));
            }
            OUT.flush();
            notifyAll();
        }

        /** Waits until every partition is read to its target. */
        synchronized void readTo(JsonNode targets) throws InterruptedException {
            while (!targets.propertyStream().allMatch(end -> position[Integer.parseInt(end.getKey())] >= end.getValue().asLong())) {
                wait();
            }
        }
    }
}
