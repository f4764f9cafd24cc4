import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** The commands about groups and their members. */
class Groups {
    final String bootstrap;
    final Admin admin;
    final Map<String, Member> members = new HashMap<>();

    Groups(String bootstrap, Admin admin) {
        this.bootstrap = bootstrap;
        this.admin = admin;
    }

    /** False where this is no command about groups. */
    boolean run(JsonNode c, ObjectNode answer) throws Exception {
        String group = c.path("group").asText();
        switch (c.get("do").asText()) {
            case "join" -> {
                Member member = new Member(bootstrap, c);
                members.put(c.get("member").asText(), member);
                member.start();
            }
            case "member" -> member(c).status(c.get("first").asInt(), answer);
            case "commit" -> member(c).ask(member(c)::commit).forEach(answer.putObject("committed")::put);
            case "leave" -> {
                member(c).ending = true;
                member(c).join(60_000);
                member(c).status(c.get("first").asInt(), answer);
            }
            case "committed" -> {
                ObjectNode offsets = answer.putObject("offsets");
                Agent.get(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata()).forEach((partition, offset) -> {
                    if (offset != null && partition.topic().equals(c.get("topic").asText())) {
                        offsets.put(Integer.toString(partition.partition()), offset.offset());
                    }
                });
            }
            case "commit_standalone" -> {
                TopicPartition partition = Agent.partition(c);
                try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(
                    Map.of("bootstrap.servers", bootstrap, "group.id", group, "enable.auto.commit", false),
                    new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
                    consumer.assign(List.of(partition));
                    consumer.commitSync(Map.of(partition, new OffsetAndMetadata(c.get("offset").asLong())));
                }
            }
            case "list_groups" -> {
                ArrayNode groups = answer.putArray("groups");
                Agent.get(admin.listGroups().all()).forEach(g -> groups.add(g.groupId()));
            }
            case "describe_group" -> {
                ConsumerGroupDescription told = Agent.get(admin.describeConsumerGroups(List.of(group)).all()).get(group);
                answer.put("state", told.groupState().toString()).put("members", told.members().size());
                answer.put("type", told.type().toString());
                ArrayNode targets = answer.putArray("assigned");
                told.members().forEach(m -> m.assignment().topicPartitions()
                    .forEach(p -> targets.addArray().add(p.topic()).add(p.partition())));
            }
            case "delete_group" -> Agent.get(admin.deleteConsumerGroups(List.of(group)).all());
            default -> {
                return false;
            }
        }
        return true;
    }

    Member member(JsonNode c) {
        return members.get(c.get("member").asText());
    }
}
