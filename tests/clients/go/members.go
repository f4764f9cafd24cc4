package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

type topicPartition struct {
	topic     string
	partition int32
}

func (p topicPartition) String() string { return fmt.Sprintf("%s-%d", p.topic, p.partition) }

// A member of a consumer group, consuming in the background; what happens to it is kept (see python/members.py).
type member struct {
	name    string
	commits string
	client  *kgo.Client
	group   *watched
	network network
	cancel  context.CancelFunc
	ended   chan struct{}

	mu           sync.Mutex
	assigned     map[topicPartition]bool
	events       []any
	records      []any
	next         map[topicPartition]kgo.EpochOffset
	acknowledged map[string]int64
	failed       []string
}

var strategies = map[string]kgo.GroupBalancer{
	"range": kgo.RangeBalancer(), "roundrobin": kgo.RoundRobinBalancer(), "sticky": kgo.StickyBalancer(),
	"cooperative-sticky": kgo.CooperativeStickyBalancer(),
}

func (a *agent) join(c *command) error {
	m := &member{
		name: c.Member, commits: c.Commit, group: a.watchedGroup(c.Group), ended: make(chan struct{}),
		assigned: map[topicPartition]bool{}, next: map[topicPartition]kgo.EpochOffset{}, acknowledged: map[string]int64{},
		events: []any{}, records: []any{}, failed: []string{},
	}
	start := kgo.NewOffset().AtStart()
	if c.Reset == "latest" {
		start = kgo.NewOffset().AtEnd()
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(a.bootstrap), kgo.ConsumerGroup(c.Group), kgo.ConsumeResetOffset(start),
		kgo.Dialer(m.network.dial),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, more map[string][]int32) { m.onAssigned(more) }),
		kgo.OnPartitionsRevoked(func(ctx context.Context, client *kgo.Client, gone map[string][]int32) {
			if c.Commit == "auto" { // what the client does by itself where nobody asks to be told
				if err := client.CommitUncommittedOffsets(ctx); err != nil {
					m.event("refused", err.Error())
				}
			}
			m.onGone("revoked", gone)
		}),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, gone map[string][]int32) { m.onGone("lost", gone) }),
	}
	if c.Topics != nil {
		options = append(options, kgo.ConsumeTopics(c.Topics...))
	} else {
		options = append(options, kgo.ConsumeRegex(), kgo.ConsumeTopics(c.Pattern))
	}
	if c.Commit != "auto" {
		options = append(options, kgo.DisableAutoCommit())
	}
	if c.Protocol == "consumer" {
		balancer := kgo.StickyBalancer() // the client's name for the broker's `uniform`
		if c.Strategy != nil && *c.Strategy == "range" {
			balancer = kgo.RangeBalancer()
		}
		options = append(options, kgo.ServerSideBalancer(), kgo.Balancers(balancer))
	} else if c.Strategy != nil {
		options = append(options, kgo.Balancers(strategies[*c.Strategy]))
	}
	if c.Instance != nil {
		options = append(options, kgo.InstanceID(*c.Instance))
	}
	if c.SessionMs > 0 && c.Protocol != "consumer" {
		session := time.Duration(c.SessionMs) * time.Millisecond
		options = append(options, kgo.SessionTimeout(session), kgo.HeartbeatInterval(session/6))
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	client, err := kgo.NewClient(options...)
	if err != nil {
		cancel()
		return err
	}
	m.client = client
	a.members[c.Member] = m
	go m.run(ctx)
	return nil
}

func (m *member) run(ctx context.Context) {
	defer close(m.ended)
	for ctx.Err() == nil {
		fetches := m.client.PollRecords(ctx, 500)
		if fetches.IsClientClosed() || m.network.isDead() {
			return
		}
		m.consumed(fetches)
		if fetches.NumRecords() > 0 && m.commits == "batch" {
			if _, err := m.commit(); err != nil {
				m.event("refused", err.Error())
			}
		}
	}
}

func (m *member) consumed(fetches kgo.Fetches) {
	fetches.EachError(func(topic string, partition int32, err error) {
		if !errors.Is(err, context.Canceled) && !kerr.IsRetriable(err) {
			m.event("error", fmt.Sprintf("%s-%d: %v", topic, partition, err))
		}
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	fetches.EachRecord(func(r *kgo.Record) {
		p := topicPartition{r.Topic, r.Partition}
		m.records = append(m.records, []any{r.Topic, r.Partition, r.Offset})
		if _, known := m.next[p]; !known && m.assigned[p] {
			m.group.begins(m.name, p, r.Offset)
		}
		m.next[p] = kgo.EpochOffset{Epoch: r.LeaderEpoch, Offset: r.Offset + 1}
	})
}

// Commits what was consumed of the partitions that are assigned.
func (m *member) commit() (map[string]int64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*timeout)
	defer cancel()
	offsets := map[string]map[int32]kgo.EpochOffset{}
	told := map[topicPartition]int64{}
	m.mu.Lock()
	for p, offset := range m.next {
		if m.assigned[p] {
			if offsets[p.topic] == nil {
				offsets[p.topic] = map[int32]kgo.EpochOffset{}
			}
			offsets[p.topic][p.partition] = offset
			told[p] = offset.Offset
		}
	}
	m.mu.Unlock()
	if len(offsets) == 0 {
		return nil, nil
	}
	var failed error
	m.client.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, response *kmsg.OffsetCommitResponse, err error) {
		failed = err
		if err != nil {
			return
		}
		for _, topic := range response.Topics {
			for _, partition := range topic.Partitions {
				if code := kerr.ErrorForCode(partition.ErrorCode); code != nil {
					failed = code
				}
			}
		}
	})
	if failed != nil {
		return nil, failed
	}
	named := map[string]int64{}
	m.mu.Lock()
	defer m.mu.Unlock()
	for p, offset := range told {
		named[p.String()] = offset
		m.acknowledged[p.String()] = max(offset, m.acknowledged[p.String()])
		m.group.acknowledged(p, offset)
	}
	return named, nil
}

func pairs(partitions map[string][]int32) (list []topicPartition) {
	for topic, numbers := range partitions {
		for _, number := range numbers {
			list = append(list, topicPartition{topic, number})
		}
	}
	return list
}

func (m *member) event(what string, about any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, []any{what, about})
}

func told(partitions []topicPartition) []any {
	list := []any{}
	for _, p := range partitions {
		list = append(list, []any{p.topic, p.partition})
	}
	return list
}

func (m *member) onAssigned(more map[string][]int32) {
	if m.network.isDead() {
		return
	}
	list := pairs(more)
	m.event("assigned", told(list))
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range list {
		m.assigned[p] = true
		delete(m.next, p)
		m.group.owned(m.name, p)
	}
}

func (m *member) onGone(how string, gone map[string][]int32) {
	list := pairs(gone)
	m.event(how, told(list))
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range list {
		delete(m.assigned, p)
		delete(m.next, p)
		m.group.released(m.name, p)
	}
}

func (m *member) status(first int) answer {
	m.mu.Lock()
	defer m.mu.Unlock()
	assigned := []topicPartition{}
	for p := range m.assigned {
		assigned = append(assigned, p)
	}
	_, generation := m.client.GroupMetadata()
	alive := true
	select {
	case <-m.ended:
		alive = false
	default:
	}
	return answer{
		"assigned": told(assigned), "events": m.events, "records": m.records[first:], "commits": m.acknowledged,
		"failed": m.failed, "alive": alive, "generation": generation,
	}
}

// Leaves the group, or (a static member) only goes.
func (m *member) leave() {
	m.cancel()
	<-m.ended
	m.client.Close()
	m.gone()
}

// To the broker this is what kill -9 of the member's process is: its connections end, and nothing is heard any more.
func (m *member) die() {
	m.network.die()
	m.gone()
	m.cancel()
	<-m.ended
	go m.client.Close()
}

func (m *member) gone() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for p := range m.assigned {
		m.group.released(m.name, p)
	}
	m.assigned = map[topicPartition]bool{}
}

// The connections of one member.
type network struct {
	mu    sync.Mutex
	dead  bool
	conns []net.Conn
}

func (n *network) dial(ctx context.Context, kind, host string) (net.Conn, error) {
	if n.isDead() {
		return nil, errors.New("this member is dead")
	}
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, kind, host)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.dead {
		conn.Close()
		return nil, errors.New("this member is dead")
	}
	n.conns = append(n.conns, conn)
	return conn, nil
}

func (n *network) isDead() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dead
}

func (n *network) die() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dead = true
	for _, conn := range n.conns {
		conn.Close()
	}
}
