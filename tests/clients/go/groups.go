package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
)

// What all members of one group in this process do to each other's partitions, checked while it happens: a partition
// has one owner at a time, and whoever takes it over begins where commits that were acknowledged end, or after.
type watched struct {
	mu       sync.Mutex
	owners   map[topicPartition]string
	commits  map[topicPartition]int64
	floors   map[topicPartition]int64
	broken   []string
	takeOver int
}

func (a *agent) watchedGroup(group string) *watched {
	w := a.groups[group]
	if w == nil {
		w = &watched{owners: map[topicPartition]string{}, commits: map[topicPartition]int64{}, floors: map[topicPartition]int64{}, broken: []string{}}
		a.groups[group] = w
	}
	return w
}

func (w *watched) owned(member string, p topicPartition) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if owner, taken := w.owners[p]; taken && owner != member {
		w.broken = append(w.broken, fmt.Sprintf("%v is assigned to %s while %s has it", p, member, owner))
	}
	w.owners[p] = member
	w.floors[p] = w.commits[p]
	w.takeOver++
}

func (w *watched) released(member string, p topicPartition) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.owners[p] == member {
		delete(w.owners, p)
	}
}

func (w *watched) begins(member string, p topicPartition, offset int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if offset < w.floors[p] {
		w.broken = append(w.broken, fmt.Sprintf("%s begins %v at %d, though %d was committed before", member, p, offset, w.floors[p]))
	}
}

func (w *watched) acknowledged(p topicPartition, offset int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.commits[p] = max(offset, w.commits[p])
}

func (w *watched) status() answer {
	w.mu.Lock()
	defer w.mu.Unlock()
	owners, commits := map[string]string{}, map[string]int64{}
	for p, owner := range w.owners {
		owners[p.String()] = owner
	}
	for p, offset := range w.commits {
		commits[p.String()] = offset
	}
	return answer{"owners": owners, "commits": commits, "broken": w.broken, "taken_over": w.takeOver}
}

func (a *agent) runGroups(ctx context.Context, c *command) (answer, error) {
	switch c.Do {
	case "join":
		return answer{}, a.join(c)
	case "member":
		return a.members[c.Member].status(c.First), nil
	case "commit":
		committed, err := a.members[c.Member].commit()
		return answer{"committed": committed}, err
	case "leave":
		a.members[c.Member].leave()
		return a.members[c.Member].status(c.First), nil
	case "die":
		a.members[c.Member].die()
		return a.members[c.Member].status(c.First), nil
	case "watched":
		return a.watchedGroup(c.Group).status(), nil
	case "committed":
		fetched, err := a.admin.FetchOffsets(ctx, c.Group)
		if err != nil {
			return nil, err
		}
		offsets := map[string]int64{}
		for partition, offset := range fetched[c.Topic] {
			if offset.Err != nil {
				return nil, offset.Err
			}
			offsets[fmt.Sprint(partition)] = offset.At
		}
		return answer{"offsets": offsets}, nil
	case "commit_standalone":
		offsets := kadm.Offsets{}
		offsets.AddOffset(c.Topic, c.Partition, c.Offset, -1)
		return answer{}, a.admin.CommitAllOffsets(ctx, c.Group, offsets)
	case "list_groups":
		listed, err := a.admin.ListGroups(ctx)
		return answer{"groups": listed.Groups()}, err
	case "describe_group":
		return a.describeGroup(ctx, c)
	case "delete_group":
		deleted, err := a.admin.DeleteGroup(ctx, c.Group)
		if err != nil {
			return nil, err
		}
		return answer{}, deleted.Err
	default:
		return answer{"unsupported": true}, nil
	}
}

// A group is described as what it is: the other API answers that there is no such group of that type.
func (a *agent) describeGroup(ctx context.Context, c *command) (answer, error) {
	modern, err := a.admin.DescribeConsumerGroups(ctx, c.Group)
	if err == nil && modern[c.Group].Err == nil {
		group := modern[c.Group]
		return answer{"state": group.State, "members": len(group.Members), "epoch": group.Epoch}, nil
	}
	classic, err := a.admin.DescribeGroups(ctx, c.Group)
	if err != nil {
		return nil, err
	}
	group := classic[c.Group]
	return answer{"state": group.State, "members": len(group.Members)}, group.Err
}
