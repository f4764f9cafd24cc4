package main

import (
	"encoding/json"
	"hash/crc32"
	"os"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Values longer than this are reported as length and CRC-32.
const digestAbove = 1024

type header struct {
	name  string
	value []byte
}

// A header is a pair in JSON: ["name", "base64" or null].
func (h *header) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&h.name, &h.value})
}

type pattern struct {
	Key       []byte
	Value     []byte
	Headers   []header
	Timestamp *int64
}

func (a *agent) patterns(path string) ([]pattern, error) {
	if known, ok := a.files[path]; ok {
		return known, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var patterns []pattern
	if err := json.Unmarshal(text, &patterns); err != nil {
		return nil, err
	}
	a.files[path] = patterns
	return patterns, nil
}

func seen(r *kgo.Record) answer {
	headers := [][]any{}
	for _, h := range r.Headers {
		headers = append(headers, []any{h.Key, h.Value})
	}
	record := answer{
		"offset": r.Offset, "timestamp": r.Timestamp.UnixMilli(), "timestamp_type": r.Attrs.TimestampType(),
		"key": r.Key, "headers": headers,
	}
	if len(r.Value) > digestAbove {
		record["digest"] = []any{len(r.Value), crc32.ChecksumIEEE(r.Value)}
	} else {
		record["value"] = r.Value
	}
	return record
}
