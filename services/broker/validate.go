package broker

import (
	"net/textproto"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	brokerpb "github.com/micro/platform/proto/broker"
)

// Bounds of a message.
const (
	maxTopic  = 512      // bytes, of the name of a queue too
	maxBody   = 1 << 20  // bytes
	maxHeader = 32 << 10 // bytes of all keys and values
)

func invalid(format string, args ...any) error {
	return errors.New(codes.InvalidArgument, format, args...)
}

// checkTopic checks where a message is published to.
func checkTopic(topic string) error {
	if topic == "" {
		return invalid("Missing topic")
	}
	if err := checkName("topic", topic); err != nil {
		return err
	}
	if wild(topic) {
		return invalid("topic %q has a wildcard: those are for subscribing", errors.Clip(topic))
	}
	return nil
}

// checkSubscription checks what is listened to.
func checkSubscription(topic, queue string) error {
	if topic == "" {
		return invalid("Missing topic")
	}
	if err := checkName("topic", topic); err != nil {
		return err
	}
	levels := strings.Split(topic, ".")
	for _, l := range levels[:len(levels)-1] {
		if l == ">" {
			return invalid("topic %q: the wildcard > comes last", errors.Clip(topic))
		}
	}
	return checkName("queue", queue)
}

func checkName(what, name string) error {
	if len(name) > maxTopic {
		return invalid("%s is %d bytes long, at most %d are allowed", what, len(name), maxTopic)
	}
	if !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return invalid("%s %q has control characters or is not UTF-8", what, errors.Clip(name))
	}
	return nil
}

// wild says whether a topic has wildcards, which are levels of their own.
func wild(topic string) bool {
	for l := range strings.SplitSeq(topic, ".") {
		if l == "*" || l == ">" {
			return true
		}
	}
	return false
}

// matches says whether a topic is one that a subscription means.
func matches(pattern, topic string) bool {
	for {
		p, morePattern, pOK := strings.Cut(pattern, ".")
		l, moreTopic, tOK := strings.Cut(topic, ".")
		switch {
		case p == ">" && !pOK:
			return true
		case p != "*" && p != l, pOK != tOK:
			return false
		case !pOK:
			return true
		}
		pattern, topic = morePattern, moreTopic
	}
}

func checkMessage(m *brokerpb.Message) error {
	if m == nil {
		return invalid("Missing message")
	}
	if n := len(m.GetBody()); n > maxBody {
		return errors.NewHTTP(413, "the body has %d bytes, at most %d are allowed", n, maxBody)
	}
	n := 0
	for k, v := range m.GetHeader() {
		n += len(k) + len(v)
	}
	if n > maxHeader {
		return errors.NewHTTP(413, "the headers have %d bytes, at most %d are allowed", n, maxHeader)
	}
	return nil
}

// secretHeaders never reach a subscriber: it would call others with them.
var secretHeaders = []string{"Authorization", "Cookie"}

// headers answers what a message carries: its own, without credentials, and
// what subscribers need to know of the call that published it.
func headers(own map[string]string, namespace, topic string, incoming func(name string) string) map[string]string {
	out := make(map[string]string, len(own)+2)
	for k, v := range own {
		if !secretHeader(k) {
			out[k] = v
		}
	}
	for _, name := range []string{"Traceparent", "Tracestate", "Micro-Trace-Id", "Micro-Span-Id", "Micro-Request-Id"} {
		if v := incoming(name); v != "" && out[name] == "" {
			out[name] = v
		}
	}
	if out["Micro-Topic"] == "" {
		out["Micro-Topic"] = topic
	}
	// A publisher's context may hold another's. The account's is the true one.
	out["Micro-Namespace"] = namespace
	return out
}

func secretHeader(name string) bool {
	name = textproto.CanonicalMIMEHeaderKey(name)
	for _, s := range secretHeaders {
		if name == s || name == "Grpcgateway-"+s {
			return true
		}
	}
	return false
}
