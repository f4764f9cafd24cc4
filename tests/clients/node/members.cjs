// Members of consumer groups: each consumes in the background and keeps what happened to it (see python/members.py).
'use strict'
const members = new Map()

class Member {
  constructor(kafka, command) {
    this.command = command
    this.assigned = []
    this.events = []
    this.records = []
    this.next = new Map()
    this.commits = {}
    this.failed = []
    this.alive = true
    const session = command.session_ms ? { sessionTimeout: command.session_ms, heartbeatInterval: Math.floor(command.session_ms / 6) } : {}
    this.consumer = kafka.consumer({ groupId: command.group, ...session })
    const { GROUP_JOIN, REBALANCING, CRASH } = this.consumer.events
    this.consumer.on(GROUP_JOIN, ({ payload }) => {
      this.assigned = Object.entries(payload.memberAssignment).flatMap(([topic, partitions]) => partitions.map((p) => [topic, p]))
      this.next.clear()
      this.events.push(['assigned', this.assigned])
    })
    this.consumer.on(REBALANCING, () => {
      this.events.push(['revoked', this.assigned])
      this.assigned = []
    })
    this.consumer.on(CRASH, ({ payload }) => {
      this.events.push(['crashed', String(payload.error)])
      if (!payload.restart) {
        this.alive = false
        this.failed.push(String(payload.error))
      }
    })
  }

  async start() {
    const { topics, pattern, reset, commit } = this.command
    await this.consumer.connect()
    await this.consumer.subscribe({ topics: topics || [new RegExp(pattern)], fromBeginning: reset === 'earliest' })
    await this.consumer.run({
      autoCommit: commit === 'auto',
      eachBatch: async ({ batch, resolveOffset, heartbeat, isRunning, isStale }) => {
        for (const { offset } of batch.messages) {
          if (!isRunning() || isStale()) break
          this.records.push([batch.topic, batch.partition, Number(offset)])
          this.next.set(`${batch.topic}-${batch.partition}`, [batch.topic, batch.partition, Number(offset) + 1])
          resolveOffset(offset)
        }
        await heartbeat()
        if (commit === 'batch') {
          try {
            await this.commit()
          } catch (error) {
            this.events.push(['refused', String(error)])
            throw error
          }
        }
      },
    })
  }

  async commit() {
    const own = new Set(this.assigned.map(([topic, partition]) => `${topic}-${partition}`))
    const offsets = [...this.next.entries()].filter(([name]) => own.has(name)).map(([, next]) => next)
    if (offsets.length) {
      await this.consumer.commitOffsets(offsets.map(([topic, partition, offset]) => ({ topic, partition, offset: String(offset) })))
    }
    const committed = {}
    for (const [topic, partition, offset] of offsets) {
      const name = `${topic}-${partition}`
      committed[name] = offset
      this.commits[name] = Math.max(offset, this.commits[name] || 0)
    }
    return committed
  }

  status(first) {
    return {
      assigned: [...this.assigned].sort(), events: this.events, records: this.records.slice(first), commits: this.commits,
      failed: this.failed, alive: this.alive, generation: null,
    }
  }
}

exports.commands = (kafka, admin) => ({
  async join(command) {
    const member = new Member(kafka, command)
    members.set(command.member, member)
    member.start().catch((error) => {
      member.failed.push(String(error))
      member.alive = false
    })
  },
  async member({ member, first }) {
    return members.get(member).status(first)
  },
  async commit({ member }) {
    return { committed: await members.get(member).commit() }
  },
  async leave({ member, first }) {
    const left = members.get(member)
    await left.consumer.disconnect()
    left.alive = false
    return left.status(first)
  },
  async committed({ group, topic }) {
    const [told] = await (await admin()).fetchOffsets({ groupId: group, topics: [topic] })
    const offsets = {}
    for (const { partition, offset } of told.partitions) if (Number(offset) >= 0) offsets[partition] = Number(offset)
    return { offsets }
  },
  async commit_standalone({ group, topic, partition, offset }) {
    await (await admin()).setOffsets({ groupId: group, topic, partitions: [{ partition, offset: String(offset) }] })
  },
  async list_groups() {
    const { groups } = await (await admin()).listGroups()
    return { groups: groups.map(({ groupId }) => groupId) }
  },
  async describe_group({ group }) {
    const { groups: [told] } = await (await admin()).describeGroups([group])
    return { state: told.state, members: told.members.length }
  },
  async delete_group({ group }) {
    await (await admin()).deleteGroups([group])
  },
})
