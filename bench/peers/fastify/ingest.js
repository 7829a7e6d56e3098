// Fastify and kafkajs. Leaves out: every check of the records, Avro (messages are JSON), authentication, rate limit,
// job events, idempotence. Arguments: port, brokers, topic.
"use strict"
const { randomUUID } = require("node:crypto")
const { gunzipSync } = require("node:zlib")
const { createRequire } = require("node:module")
const requireHere = createRequire(process.cwd() + "/")
const fastify = requireHere("fastify")
const { Kafka, Partitioners, logLevel } = requireHere("kafkajs")

const [port, brokers, topic] = process.argv.slice(2)
const kafka = new Kafka({ brokers: [brokers], logLevel: logLevel.ERROR })
const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner })
const app = fastify({ logger: false })

app.removeContentTypeParser("application/json")
app.addContentTypeParser("application/json", { parseAs: "buffer" }, async (request, body) =>
  JSON.parse(request.headers["content-encoding"] === "gzip" ? gunzipSync(body) : body))

async function accept(orders, reply) {
  const jobId = randomUUID()
  const messages = orders.map((order, index) =>
    ({ key: order.id, value: JSON.stringify(order), headers: { jobId, index: String(index) } }))
  await producer.send({ topic, acks: -1, messages })
  return reply.code(202).send({ jobId, total: orders.length })
}

app.post("/omnichannel/api/v1/:apiKey/orders", (request, reply) => accept(request.body, reply))
app.put("/omnichannel/api/v1/:apiKey/orders/users/:userId", (request, reply) => accept([request.body], reply))

producer.connect().then(() => app.listen({ port: Number(port), host: "127.0.0.1" })).then(() => console.log("up"))
