import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Apache Kafka's command line tools one after another in one process: a JVM start costs a second each.
 * A command is {"do": "run", "tool": CLASS, "arguments": [...]}, its answer has the exit code and what was printed.
 */
public class Tools {
    static final ObjectMapper JSON = new ObjectMapper();

    static class Exited extends RuntimeException {
        final int status;

        Exited(int status) {
            super("exit " + status, null, false, false);
            this.status = status;
        }
    }

    /** The status of the first exit: some tools catch what is thrown here and exit again. */
    static Integer exited;

    static void exit(int status) {
        if (exited == null) {
            exited = status;
        }
        throw new Exited(status);
    }

    public static void main(String[] ignored) throws Exception {
        PrintStream out = System.out;
        Exit.setExitProcedure((status, message) -> exit(status));
        Exit.setHaltProcedure((status, message) -> exit(status));
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            out.println(JSON.writeValueAsString(run(JSON.readTree(line))));
        }
        System.exit(0);
    }

    static ObjectNode run(JsonNode command) throws Exception {
        List<String> arguments = new ArrayList<>();
        command.get("arguments").forEach(a -> arguments.add(a.asText()));
        ByteArrayOutputStream printed = new ByteArrayOutputStream();
        PrintStream print = new PrintStream(printed, true, StandardCharsets.UTF_8);
        PrintStream out = System.out;
        PrintStream err = System.err;
        int status = 0;
        exited = null;
        try {
            System.setOut(print);
            System.setErr(print);
            // Scala's println remembers the stream it first saw.
            scala.Console.withOut(print, () -> invoke(command.get("tool").asText(), arguments));
        } catch (Exited ended) {
            status = ended.status;
        } catch (Throwable error) {
            status = -1;
            error.printStackTrace(print);
        } finally {
            System.setOut(out);
            System.setErr(err);
        }
        status = exited == null ? status : exited;
        return JSON.createObjectNode().put("status", status).put("printed", printed.toString(StandardCharsets.UTF_8));
    }

    static Object invoke(String tool, List<String> arguments) {
        try {
            return Class.forName(tool).getMethod("main", String[].class)
                .invoke(null, (Object) arguments.toArray(new String[0]));
        } catch (InvocationTargetException error) {
            Throwable cause = error.getCause();
            while (cause != null && !(cause instanceof Exited) && cause.getCause() != null) {
                cause = cause.getCause();
            }
            throw cause instanceof RuntimeException known ? known : new RuntimeException(cause);
        } catch (ReflectiveOperationException error) {
            throw new IllegalArgumentException(error);
        }
    }
}
