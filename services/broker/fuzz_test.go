package broker

import (
	"path"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/micro/platform/internal/redistest"
	brokerpb "github.com/micro/platform/proto/broker"
)

// FuzzTopic shows that no topic leads out of its namespace, and that Redis'
// patterns let through whatever matches.
func FuzzTopic(f *testing.F) {
	for _, s := range []string{"a", "a.b", "*", ">", "a.*", "a.>", "a..b", ".", "{other}", "}:topic:", "a[b]?*\\", "../x", "a\x00b", "\xff", "a*b.*"} {
		f.Add(s, "a.b")
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, subscription, topic string) {
		if checkSubscription(subscription, "") != nil || checkTopic(topic) != nil {
			return
		}
		own := "broker:{demo}:topic:"
		if !strings.HasPrefix(channel("demo", topic), own) || !strings.HasPrefix(pattern("demo", subscription), own) {
			t.Fatalf("%q or %q leaves the namespace", topic, subscription)
		}
		if !wild(subscription) {
			if matches(subscription, topic) != (subscription == topic) {
				t.Errorf("%q matches %q", subscription, topic)
			}
			return
		}
		// path.Match takes / for a border, and reads the same language else.
		border := strings.NewReplacer("/", "|")
		heard, err := path.Match(border.Replace(pattern("demo", subscription)), border.Replace(channel("demo", topic)))
		if err != nil || matches(subscription, topic) && !heard && utf8.ValidString(topic) {
			t.Errorf("%q matches %q, but Redis' %q does not: %v", subscription, topic, pattern("demo", subscription), err)
		}
	})
}

// TestMatchesInRedis shows that the script means the same by wildcards.
func TestMatchesInRedis(t *testing.T) {
	t.Parallel()
	p := start(t, Options{})
	all := []string{"a", "b", "a.b", "a..b", ".", "..", "a.", ".a", "a.b.c", "%a", "a-b", "größe.ö"}
	for _, subscription := range []string{"*", ">", "a.*", "a.>", "*.b", "*.*", "*.*.*", ".*", "*.", "%a.>", "größe.*"} {
		ns := redistest.Namespace(t)
		s := p.subscribe(t, as(t, ns), subscription, "q")
		var want []string
		for _, topic := range all {
			p.publish(t, as(t, ns), topic, topic)
			if matches(subscription, topic) {
				want = append(want, topic)
			}
		}
		for _, w := range want {
			if m := next(t, s); string(m.GetBody()) != w {
				t.Fatalf("a queue of %q got %q, want %q of %q", subscription, m.GetBody(), w, want)
			}
		}
	}
}

// FuzzLetter reads what may have come from anybody who can reach Redis.
func FuzzLetter(f *testing.F) {
	f.Add("30:broker:{demo}:queues\x00a\x00q\x00a\x00body")
	f.Add("-1:")
	f.Add("9999999999999999999:x")
	f.Fuzz(func(t *testing.T, s string) {
		if l, err := parseLetter(s); err == nil && !strings.HasSuffix(s, l.message) {
			t.Errorf("%q has the message %q", s, l.message)
		}
	})
}

// FuzzHeaders shows that no credential passes, however it is written.
func FuzzHeaders(f *testing.F) {
	f.Add("Authorization", "x")
	f.Add("aUTHORIZATION", "x")
	f.Fuzz(func(t *testing.T, name, value string) {
		out := headers(map[string]string{name: value}, "demo", "t", func(string) string { return "" })
		for k := range out {
			if strings.EqualFold(k, "authorization") || strings.EqualFold(k, "cookie") {
				t.Errorf("%q passes", k)
			}
		}
		if out["Micro-Namespace"] != "demo" {
			t.Errorf("the namespace is %q", out["Micro-Namespace"])
		}
		_ = checkMessage(&brokerpb.Message{Header: out})
	})
}
