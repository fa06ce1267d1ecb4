package broker

import (
	"context"
	_ "embed"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// queueTTL is how long the members of a process that is gone are remembered. A
// process tells of its own every queueTTL / 3.
const queueTTL = 30 * time.Second

//go:embed publish.lua
var publishSource string

var publishScript = redis.NewScript(publishSource)

// channel is where messages of a topic go.
func channel(namespace, topic string) string { return "broker:{" + namespace + "}:topic:" + topic }

// globbed is what Redis' patterns mean something else by.
var globbed = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)

// pattern answers the pattern of Redis for a topic with wildcards: all that
// begins like it. What it has too much is left out by matches.
func pattern(namespace, topic string) string {
	var fixed []string
	for _, l := range strings.Split(topic, ".") {
		if l == "*" || l == ">" {
			break
		}
		fixed = append(fixed, l+".")
	}
	return globbed.Replace(channel(namespace, strings.Join(fixed, ""))) + "*"
}

// process is the channel of one process.
func process(id string) string { return "broker:process:" + id }

// wildQueues is the key of the queues whose topic has wildcards.
func wildQueues(namespace string) string { return "broker:{" + namespace + "}:queues" }

func queues(namespace, topic string) string {
	if wild(topic) {
		return wildQueues(namespace)
	}
	return wildQueues(namespace) + ":" + topic
}

// queue is the members with the same topic and name.
type queue struct{ namespace, topic, name string }

func (q queue) field(process string) string { return q.topic + "\x00" + q.name + "\x00" + process }

// publish hands a message over, only to a member of one queue if one is named.
func publish(ctx context.Context, r redis.UniversalClient, namespace, topic string, only queue, message []byte) error {
	chosen := ""
	if only.name != "" {
		chosen = only.topic + "\x00" + only.name
	}
	err := publishScript.Run(ctx, r, []string{queues(namespace, topic), wildQueues(namespace)},
		channel(namespace, topic), topic, chosen, rand.IntN(1<<30), message).Err()
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}

// tell says how many members of queues a process has.
func tell(ctx context.Context, r redis.UniversalClient, process string, members map[queue]int) error {
	if len(members) == 0 {
		return nil
	}
	_, err := r.Pipelined(ctx, func(p redis.Pipeliner) error {
		for q, n := range members {
			key := queues(q.namespace, q.topic)
			if n == 0 {
				p.HDel(ctx, key, q.field(process))
				continue
			}
			p.HSet(ctx, key, q.field(process), n)
			p.Expire(ctx, key, queueTTL)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("tell of members: %w", err)
	}
	return nil
}

// letter is a message that was sent to this process for a member of a queue.
type letter struct {
	queue   queue
	topic   string
	message string
}

// parseLetter reads what publish.lua writes: the length of a head, a colon, the
// head "key NUL pattern NUL queue NUL topic", and the message.
func parseLetter(s string) (letter, error) {
	size, rest, ok := strings.Cut(s, ":")
	n, err := strconv.Atoi(size)
	if !ok || err != nil || n < 0 || n > len(rest) {
		return letter{}, fmt.Errorf("letter without a head")
	}
	parts := strings.Split(rest[:n], "\x00")
	if len(parts) != 4 {
		return letter{}, fmt.Errorf("letter with a head of %d parts", len(parts))
	}
	ns := strings.TrimSuffix(strings.TrimPrefix(parts[0], "broker:{"), "}:queues")
	return letter{queue{ns, parts[1], parts[2]}, parts[3], rest[n:]}, nil
}
