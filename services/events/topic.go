package events

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// deadSuffix makes the name of a topic's dead letters.
const deadSuffix = ".dead"

// maxTopic is in bytes, of a name without deadSuffix.
const maxTopic = 256

var namespaceRule = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// topic is a topic whose name was checked; newTopic makes one.
type topic struct {
	namespace string
	base      string // without deadSuffix
	dead      bool
}

func newTopic(namespace, name string) (topic, error) {
	base, dead := strings.CutSuffix(name, deadSuffix)
	switch {
	case name == "":
		return topic{}, invalid("Missing topic")
	case !namespaceRule.MatchString(namespace):
		return topic{}, invalid("namespace %q: lower-case letters, digits and hyphens", clip(namespace))
	case base == "", len(base) > maxTopic, !printable(base):
		return topic{}, invalid("topic %q: 1 to %d printable bytes of UTF-8", clip(name), maxTopic)
	}
	return topic{namespace, base, dead}, nil
}

func (t topic) name() string {
	if t.dead {
		return t.base + deadSuffix
	}
	return t.base
}

// key is of the stream. A topic and its dead letters are in one slot, so that an
// event moves from one to the other at once.
func (t topic) key() string {
	if t.dead {
		return t.letters()
	}
	return t.unit() + ":log"
}

// unit begins the topic's keys. Existing services name topics with paths and
// addresses in them, so the name is escaped: it has no brace, slash or colon.
func (t topic) unit() string { return "events:{" + t.namespace + "/" + url.QueryEscape(t.base) + "}" }

// letters is the key of the stream of dead letters.
func (t topic) letters() string { return t.unit() + ":dead" }

// deadTopic is where the topic's dead letters are.
func (t topic) deadTopic() topic { return topic{t.namespace, t.base, true} }

// alive is the topic whose dead letters these are.
func (t topic) alive() topic { return topic{t.namespace, t.base, false} }

// namespaces is the key of the set of all namespaces with topics.
const namespaces = "events:namespaces"

// topics is the key of the set of a namespace's topics.
func topics(namespace string) string { return "events:{" + namespace + "}:topics" }

// An event's id is the one that Redis gave it with a mark of its topic:
// 1763714280123-0-5f3a9c21.
func (t topic) eventID(redisID string) string { return redisID + "-" + t.mark() }

func (t topic) mark() string {
	h := fnv.New32a()
	h.Write([]byte(t.key()))
	return fmt.Sprintf("%08x", h.Sum32())
}

// redisID answers the id that an event of this topic has in Redis.
func (t topic) redisID(eventID string) (position, error) {
	id, mark, ok := cutLast(eventID, "-")
	p, err := parsePosition(id)
	if !ok || err != nil {
		return position{}, invalid("event id %q: not the id of an event", clip(eventID))
	}
	if mark != t.mark() {
		return position{}, invalid("event id %q: it is of another topic than %q", clip(eventID), t.name())
	}
	return p, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return "", s, false
}

// position is a place in a stream: milliseconds and a sequence number, as Redis
// has it.
type position struct{ ms, seq uint64 }

func parsePosition(s string) (position, error) {
	ms, seq, ok := strings.Cut(s, "-")
	if !ok {
		return position{}, fmt.Errorf("no position %q", s)
	}
	m, err := strconv.ParseUint(ms, 10, 64)
	if err != nil {
		return position{}, err
	}
	n, err := strconv.ParseUint(seq, 10, 64)
	return position{m, n}, err
}

func (p position) String() string {
	return strconv.FormatUint(p.ms, 10) + "-" + strconv.FormatUint(p.seq, 10)
}

func (p position) compare(o position) int {
	return cmp.Or(cmp.Compare(p.ms, o.ms), cmp.Compare(p.seq, o.seq))
}

// since is the position before everything that was published at a time or later.
func since(unixSeconds int64) position {
	return position{ms: uint64(unixSeconds)*1000 - 1, seq: 1<<64 - 1}
}
