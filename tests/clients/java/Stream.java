import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicLongArray;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** A producer with its default settings (idempotent) that counts on while the broker dies and comes back. */
class Stream extends Thread {
    final KafkaProducer<byte[], byte[]> producer;
    final String topic;
    final AtomicLongArray sent;
    final AtomicLongArray acknowledged;
    final Queue<String> failed = new ConcurrentLinkedQueue<>();
    volatile boolean stopping;

    Stream(Map<String, Object> config, String topic, int partitions) {
        this.producer = new KafkaProducer<>(config, new ByteArraySerializer(), new ByteArraySerializer());
        this.topic = topic;
        this.sent = new AtomicLongArray(partitions);
        this.acknowledged = new AtomicLongArray(partitions);
        setDaemon(true);
    }

    @Override
    public void run() {
        try {
            while (!stopping) {
                for (int p = 0; p < sent.length(); p++) {
                    int partition = p;
                    byte[] value = Long.toString(sent.get(p)).getBytes(StandardCharsets.US_ASCII);
                    producer.send(new ProducerRecord<>(topic, p, null, value), (metadata, error) -> {
                        if (error == null) {
                            acknowledged.incrementAndGet(partition);
                        } else {
                            failed.add(error.toString());
                        }
                    });
                    sent.incrementAndGet(p);
                }
                // A bounded pace: about two thousand records a second.
                Thread.sleep(1, 500_000);
            }
            producer.flush();
        } catch (Exception error) {
            failed.add(error.toString());
        }
    }

    void status(ObjectNode answer) {
        ArrayNode sentNow = answer.putArray("sent");
        ArrayNode acknowledgedNow = answer.putArray("acknowledged");
        for (int p = 0; p < sent.length(); p++) {
            sentNow.add(sent.get(p));
            acknowledgedNow.add(acknowledged.get(p));
        }
        ArrayNode failures = answer.putArray("failed");
        failed.stream().limit(5).forEach(failures::add);
    }
}
