import java.io.ByteArrayOutputStream;
import java.math.BigDecimal;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Properties;
import java.util.UUID;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Produces orders with only Kafka's own client. Arguments: bootstrap servers, registry URL, number of orders. */
public class Producer {
    private static final String TOPIC = "orders.submitted.v1";

    public static void main(String[] arguments) throws Exception {
        int schemaId = schemaId(arguments[1]);
        int total = Integer.parseInt(arguments[2]);
        String jobId = UUID.randomUUID().toString();
        Properties properties = new Properties();
        properties.put("bootstrap.servers", arguments[0]);
        properties.put("acks", "all");
        properties.put("enable.idempotence", "true");
        try (KafkaProducer<String, byte[]> producer =
                new KafkaProducer<>(properties, new StringSerializer(), new ByteArraySerializer())) {
            for (int index = 0; index < total; index++) {
                String id = "java-" + index;
                byte[] value = order(schemaId, jobId, index, total, id);
                producer.send(new ProducerRecord<>(TOPIC, "608|java|" + id, value)).get();
            }
        }
        System.out.println(jobId);
    }

    /** Returns the id of the subject's latest schema. */
    private static int schemaId(String registry) throws Exception {
        String base = registry.replaceAll("/+$", "");
        URI address = URI.create(base + "/subjects/" + TOPIC + "-value/versions/latest");
        HttpResponse<String> response =
                HttpClient.newHttpClient().send(HttpRequest.newBuilder(address).build(), HttpResponse.BodyHandlers.ofString());
        Matcher id = Pattern.compile("\"id\":\\s*(\\d+)").matcher(response.body());
        if (response.statusCode() != 200 || !id.find()) {
            throw new IllegalStateException(response.body());
        }
        return Integer.parseInt(id.group(1));
    }

    /** Encodes Avro by hand, field by field in schema order; KafkaAvroSerializer writes the same bytes. */
    private static byte[] order(int schemaId, String jobId, int index, int total, String id) throws Exception {
        long now = System.currentTimeMillis() * 1000;
        Writer value = new Writer();
        value.raw(ByteBuffer.allocate(5).put((byte) 0).putInt(schemaId).array());
        value.number(608); // site
        value.number(1).text(jobId).number(index).number(total).number(now).number(0).number(0); // job: offline, orders
        value.number(now); // acceptedAt
        value.text(id);
        value.number(1).text("java"); // channel
        value.text("userJ"); // userId
        value.number(now).number(60); // dateTime, utcOffsetMinutes
        value.number(0); // mode: offline
        value.number(0).number(0); // paymentMethod, paymentKind
        value.number(0).number(0).number(0).number(0); // emailHash, ccHash, storeId, regionId
        value.number(0).number(0); // segmentIds, segmentNames
        value.text("EUR");
        value.number(0).number(0); // couponCode, couponValue
        value.number(1); // one line
        value.text("4556").number(0).number(2).amount(new BigDecimal("256.678"));
        value.number(0); // no more lines
        return value.bytes();
    }

    /** The parts of Avro's binary encoding that an order needs. */
    private static final class Writer {
        private final ByteArrayOutputStream out = new ByteArrayOutputStream();

        Writer number(long number) {
            long rest = (number << 1) ^ (number >> 63);
            while ((rest & ~0x7FL) != 0) {
                out.write((int) (rest & 0x7F | 0x80));
                rest >>>= 7;
            }
            out.write((int) rest);
            return this;
        }

        Writer text(String text) throws Exception {
            byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
            return number(bytes.length).raw(bytes);
        }

        Writer amount(BigDecimal amount) throws Exception {
            byte[] unscaled = amount.setScale(6).unscaledValue().toByteArray();
            return number(unscaled.length).raw(unscaled);
        }

        Writer raw(byte[] bytes) throws Exception {
            out.write(bytes);
            return this;
        }

        byte[] bytes() {
            return out.toByteArray();
        }
    }
}
