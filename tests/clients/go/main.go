// franz-go: a client of its own, in Go. Commands come as one JSON object a line on standard input, answers go out the
// same way (see agent.rs); the end of the input ends the program.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const timeout = 30 * time.Second

type answer map[string]any

type command struct {
	Do          string
	Topic       string
	Partition   int32
	Partitions  int32
	Configs     map[string]string
	Total       int
	Before      int64
	File        string
	Codec       *string
	Acks        *int
	Idempotence *bool
	Count       int
	From        int64
	Timestamp   int64
	Member      string
	Group       string
	Topics      []string
	Pattern     string
	Protocol    string
	Strategy    *string
	Instance    *string
	Reset       string
	Commit      string
	SessionMs   int `json:"session_ms"`
	First       int
	Offset      int64
}

type agent struct {
	bootstrap string
	admin     *kadm.Client
	producers map[string]*kgo.Client
	reader    *kgo.Client
	assigned  map[string][]int32
	files     map[string][]pattern
	members   map[string]*member
	groups    map[string]*watched
}

func main() {
	client, err := kgo.NewClient(kgo.SeedBrokers(os.Args[1]))
	if err != nil {
		panic(err)
	}
	a := &agent{
		bootstrap: os.Args[1], admin: kadm.NewClient(client),
		producers: map[string]*kgo.Client{}, files: map[string][]pattern{},
		members: map[string]*member{}, groups: map[string]*watched{},
	}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 16<<20)
	out := json.NewEncoder(os.Stdout)
	for in.Scan() {
		var c command
		if err := json.Unmarshal(in.Bytes(), &c); err != nil {
			panic(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		told, err := a.run(ctx, &c)
		cancel()
		if err != nil {
			told = answer{"error": err.Error()}
			var code *kerr.Error
			if errors.As(err, &code) {
				told["code"] = code.Code
			}
		}
		if err := out.Encode(told); err != nil {
			panic(err)
		}
	}
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == "github.com/twmb/franz-go" {
				return module.Version
			}
		}
	}
	return "unknown"
}

func (a *agent) run(ctx context.Context, c *command) (answer, error) {
	switch c.Do {
	case "hello":
		return answer{"client": "franz-go " + version()}, nil
	case "create_topic":
		configs := map[string]*string{}
		for name, value := range c.Configs {
			configs[name] = &value
		}
		_, err := a.admin.CreateTopic(ctx, c.Partitions, -1, configs, c.Topic)
		return answer{}, err
	case "list_topics":
		topics, err := a.admin.ListTopics(ctx)
		return answer{"topics": topics.Names()}, err
	case "describe_topic":
		return a.describeTopic(ctx, c)
	case "describe_configs":
		return a.describeConfigs(ctx, c)
	case "alter_configs":
		var changes []kadm.AlterConfig
		for name, value := range c.Configs {
			changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value})
		}
		altered, err := a.admin.AlterTopicConfigs(ctx, changes, c.Topic)
		if err != nil {
			return nil, err
		}
		return answer{}, altered[0].Err
	case "create_partitions":
		created, err := a.admin.UpdatePartitions(ctx, c.Total, c.Topic)
		if err != nil {
			return nil, err
		}
		return answer{}, created[c.Topic].Err
	case "delete_records":
		before := kadm.Offsets{}
		before.AddOffset(c.Topic, c.Partition, c.Before, -1)
		deleted, err := a.admin.DeleteRecords(ctx, before)
		if err != nil {
			return nil, err
		}
		one := deleted[c.Topic][c.Partition]
		return answer{"low_watermark": one.LowWatermark}, one.Err
	case "delete_topic":
		_, err := a.admin.DeleteTopic(ctx, c.Topic)
		return answer{}, err
	case "produce":
		return a.produce(ctx, c)
	case "produce_numbers":
		return a.produceNumbers(ctx, c)
	case "consume":
		return a.consume(ctx, c)
	case "offsets":
		begin, err := a.admin.ListStartOffsets(ctx, c.Topic)
		if err != nil {
			return nil, err
		}
		end, err := a.admin.ListEndOffsets(ctx, c.Topic)
		if err != nil {
			return nil, err
		}
		from, to := begin[c.Topic][c.Partition], end[c.Topic][c.Partition]
		return answer{"begin": from.Offset, "end": to.Offset}, errors.Join(from.Err, to.Err)
	case "offset_for_time":
		listed, err := a.admin.ListOffsetsAfterMilli(ctx, c.Timestamp, c.Topic)
		if err != nil {
			return nil, err
		}
		one := listed[c.Topic][c.Partition]
		if one.Timestamp < 0 { // kadm tells the end where there is no such record
			return answer{"offset": nil}, one.Err
		}
		return answer{"offset": one.Offset}, one.Err
	default:
		return a.runGroups(ctx, c)
	}
}

func (a *agent) describeTopic(ctx context.Context, c *command) (answer, error) {
	topics, err := a.admin.ListTopics(ctx, c.Topic)
	if err != nil {
		return nil, err
	}
	topic := topics[c.Topic]
	leaders := []int32{}
	for _, partition := range topic.Partitions.Sorted() {
		leaders = append(leaders, partition.Leader)
	}
	return answer{"partitions": len(topic.Partitions), "leaders": leaders}, topic.Err
}

func (a *agent) describeConfigs(ctx context.Context, c *command) (answer, error) {
	described, err := a.admin.DescribeTopicConfigs(ctx, c.Topic)
	if err != nil {
		return nil, err
	}
	if described[0].Err != nil {
		return nil, described[0].Err
	}
	configs := map[string]*string{}
	for _, config := range described[0].Configs {
		configs[config.Key] = config.Value
	}
	return answer{"configs": configs}, nil
}

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

var acks = map[int]kgo.Acks{-1: kgo.AllISRAcks(), 0: kgo.NoAck(), 1: kgo.LeaderAck()}

func (a *agent) producer(c *command) (*kgo.Client, error) {
	options := []kgo.Opt{kgo.SeedBrokers(a.bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner())}
	name := ""
	if c.Codec != nil {
		options = append(options, kgo.ProducerBatchCompression(codecs[*c.Codec]), kgo.ProducerLinger(20*time.Millisecond))
		name += *c.Codec
	}
	if c.Acks != nil {
		options = append(options, kgo.RequiredAcks(acks[*c.Acks]))
		name += fmt.Sprint(" acks ", *c.Acks)
	}
	if c.Idempotence != nil && !*c.Idempotence {
		options = append(options, kgo.DisableIdempotentWrite())
		name += " not idempotent"
	}
	if known := a.producers[name]; known != nil {
		return known, nil
	}
	client, err := kgo.NewClient(options...)
	a.producers[name] = client
	return client, err
}

func (a *agent) produce(ctx context.Context, c *command) (answer, error) {
	producer, err := a.producer(c)
	if err != nil {
		return nil, err
	}
	patterns, err := a.patterns(c.File)
	if err != nil {
		return nil, err
	}
	var records []*kgo.Record
	for _, p := range patterns {
		record := &kgo.Record{Topic: c.Topic, Partition: c.Partition, Key: p.Key, Value: p.Value}
		for _, h := range p.Headers {
			record.Headers = append(record.Headers, kgo.RecordHeader{Key: h.name, Value: h.value})
		}
		if p.Timestamp != nil {
			record.Timestamp = time.UnixMilli(*p.Timestamp)
		}
		records = append(records, record)
	}
	results := producer.ProduceSync(ctx, records...)
	offsets := make([]int64, len(records))
	for i, record := range records {
		offsets[i] = record.Offset
	}
	return answer{"offsets": offsets}, results.FirstErr()
}

func (a *agent) produceNumbers(ctx context.Context, c *command) (answer, error) {
	producer, err := a.producer(c)
	if err != nil {
		return nil, err
	}
	var records []*kgo.Record
	for number := range c.Count {
		partition := int32(number) % c.Partitions
		records = append(records, &kgo.Record{Topic: c.Topic, Partition: partition, Value: fmt.Append(nil, number)})
	}
	err = producer.ProduceSync(ctx, records...).FirstErr()
	return answer{"acknowledged": len(records)}, err
}

func (a *agent) consume(ctx context.Context, c *command) (answer, error) {
	if a.reader == nil {
		client, err := kgo.NewClient(kgo.SeedBrokers(a.bootstrap), kgo.ConsumePartitions(nil), kgo.FetchMaxWait(500*time.Millisecond))
		if err != nil {
			return nil, err
		}
		a.reader = client
	}
	if a.assigned != nil {
		a.reader.RemoveConsumePartitions(a.assigned)
	}
	a.assigned = map[string][]int32{c.Topic: {c.Partition}}
	a.reader.AddConsumePartitions(map[string]map[int32]kgo.Offset{c.Topic: {c.Partition: kgo.NewOffset().At(c.From)}})
	records := []answer{}
	for len(records) < c.Count {
		fetches := a.reader.PollRecords(ctx, c.Count-len(records))
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("%d of %d records: %w", len(records), c.Count, err)
		}
		if failed := fetches.Errors(); len(failed) > 0 {
			return nil, failed[0].Err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Topic == c.Topic && r.Partition == c.Partition {
				records = append(records, seen(r))
			}
		})
	}
	return answer{"records": records}, nil
}
