// kafkajs: administers and produces. It consumes only in groups (members.cjs), so what it wrote is read by the others.
// Commands come as one JSON object a line on standard input, answers go out the same way (see agent.rs).
'use strict'
const fs = require('fs')
const readline = require('readline')
const kafkajs = require('kafkajs')
const { Kafka, CompressionTypes, CompressionCodecs, ConfigResourceTypes, logLevel } = kafkajs

CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')

const lz4 = require('lz4-napi')
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async (encoder) => lz4.compressFrame(encoder.buffer),
  decompress: async (buffer) => lz4.decompressFrame(buffer),
})

const zstd = require('@bokuweb/zstd-wasm')
const zstdReady = zstd.init()
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder) => { await zstdReady; return Buffer.from(zstd.compress(encoder.buffer, 3)) },
  decompress: async (buffer) => { await zstdReady; return Buffer.from(zstd.decompress(buffer)) },
})

const codecs = {
  none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4, zstd: CompressionTypes.ZSTD,
}

const kafka = new Kafka({ clientId: 'ketcd-test', brokers: [process.argv[2]], logLevel: logLevel.NOTHING })
let administrator
const producers = new Map()
const files = new Map()

async function admin() {
  if (!administrator) {
    administrator = kafka.admin()
    await administrator.connect()
  }
  return administrator
}

async function producer(command) {
  // kafkajs's own default is idempotent: false and acks -1.
  const idempotent = command.idempotence === null ? undefined : command.idempotence
  if (!producers.has(idempotent)) {
    const created = kafka.producer({ idempotent, createPartitioner: kafkajs.Partitioners.DefaultPartitioner })
    await created.connect()
    producers.set(idempotent, created)
  }
  return producers.get(idempotent)
}

const decode = (text) => (text === null ? null : Buffer.from(text, 'base64'))

// A header name that occurs again becomes a list: kafkajs has no order between names.
function headersOf(pairs) {
  const headers = {}
  for (const [name, value] of pairs) (headers[name] ||= []).push(decode(value))
  return headers
}

function recordsOf(file) {
  if (!files.has(file)) {
    files.set(file, JSON.parse(fs.readFileSync(file)).map((r) => ({
      key: decode(r.key), value: decode(r.value), headers: headersOf(r.headers),
      timestamp: r.timestamp === null ? undefined : String(r.timestamp),
    })))
  }
  return files.get(file)
}

async function send(command, messages) {
  const answer = await (await producer(command)).send({
    topic: command.topic, messages,
    acks: command.acks === null ? undefined : command.acks,
    compression: command.codec === null ? undefined : codecs[command.codec],
  })
  return answer
}

const commands = {
  async hello() {
    return { client: `kafkajs ${require('kafkajs/package.json').version}` }
  },
  async create_topic({ topic, partitions, configs }) {
    const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }))
    const created = await (await admin()).createTopics({ topics: [{ topic, numPartitions: partitions, configEntries }] })
    // "false" is how kafkajs says TOPIC_ALREADY_EXISTS.
    return created ? {} : { code: 36, error: 'createTopics answered false' }
  },
  async list_topics() {
    return { topics: await (await admin()).listTopics() }
  },
  async describe_topic({ topic }) {
    const { topics } = await (await admin()).fetchTopicMetadata({ topics: [topic] })
    return { partitions: topics[0].partitions.length, leaders: topics[0].partitions.map((p) => p.leader) }
  },
  async describe_configs({ topic }) {
    const { resources } = await (await admin()).describeConfigs({
      includeSynonyms: false, resources: [{ type: ConfigResourceTypes.TOPIC, name: topic }],
    })
    const configs = {}
    for (const entry of resources[0].configEntries) configs[entry.configName] = entry.configValue
    return { configs }
  },
  async alter_configs({ topic, configs }) {
    const configEntries = Object.entries(configs).map(([name, value]) => ({ name, value }))
    await (await admin()).alterConfigs({
      validateOnly: false, resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries }],
    })
  },
  async create_partitions({ topic, total }) {
    await (await admin()).createPartitions({ topicPartitions: [{ topic, count: total }] })
  },
  async delete_records({ topic, partition, before }) {
    // It looks for the leader only in what it knows already: this has it learn of the topic.
    await (await admin()).fetchTopicOffsets(topic)
    await (await admin()).deleteTopicRecords({ topic, partitions: [{ partition, offset: String(before) }] })
    return { low_watermark: before }
  },
  async delete_topic({ topic }) {
    await (await admin()).deleteTopics({ topics: [topic] })
  },
  async produce(command) {
    const messages = recordsOf(command.file).map((r) => ({ ...r, partition: command.partition }))
    const [answer] = await send(command, messages)
    const base = answer && answer.baseOffset !== undefined ? Number(answer.baseOffset) : -1
    return { offsets: messages.map((_, i) => (base < 0 ? -1 : base + i)) }
  },
  async produce_numbers(command) {
    let acknowledged = 0
    for (let from = 0; from < command.count; from += 500) {
      const messages = []
      for (let n = from; n < Math.min(from + 500, command.count); n++) {
        messages.push({ value: String(n), partition: n % command.partitions })
      }
      await send(command, messages)
      acknowledged += messages.length
    }
    return { acknowledged }
  },
  async offsets({ topic, partition }) {
    const all = await (await admin()).fetchTopicOffsets(topic)
    const one = all.find((p) => p.partition === partition)
    return { begin: Number(one.low), end: Number(one.high) }
  },
  async offset_for_time({ topic, partition, timestamp }) {
    // kafkajs answers with the end of the log where Kafka says that there is no such record.
    const all = await (await admin()).fetchTopicOffsetsByTimestamp(topic, timestamp)
    return { offset: Number(all.find((p) => p.partition === partition).offset) }
  },
}

Object.assign(commands, require('./members.cjs').commands(kafka, admin))

async function answer(line) {
  const command = JSON.parse(line)
  const work = commands[command.do]
  if (!work) return { unsupported: true }
  try {
    return (await work(command)) || {}
  } catch (error) {
    // An aggregate has one error for each topic; the first one tells.
    // After retries in vain, the cause does.
    let told = error.errors && error.errors.length ? error.errors[0] : error
    for (const part of [error.groups, error.partitions]) if (part && part.length && part[0].error) told = part[0].error
    while (told.code === undefined && told.cause) told = told.cause
    return { code: told.code, error: `${told.name}: ${told.message}` }
  }
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(JSON.stringify(await answer(line)) + '\n')
  }
  process.exit(0)
}
main()
