package tests

import "testing"

// TestEventsOverHTTP shows events by REST, and consuming them by plain HTTP and
// as server-sent events.
func TestEventsOverHTTP(t *testing.T) {
	t.Parallel()
	p := start(t, false)
	x := person(t, p, "events-http")
	const topic = "/platform/v1/topics/orders%2Fnew"
	for _, c := range []struct{ name, want, line string }{
		{"publish", `"id":"`, curl(p, topic+"/events", `-d '{"payload":"eyJuIjo3fQ=="}'`)},
		{"read", `"payload":"eyJuIjo3fQ=="`, curl(p, topic+"/events", "")},
		{"topics", `"name":"orders/new"`, curl(p, "/platform/v1/topics", "")},
		{"consume", `"payload":"eyJuIjo3fQ=="`,
			curl(p, "/events/Stream/Consume", `-N --max-time 3 -d '{"topic":"orders/new","group":"audit","offset":1,"auto_ack":true}' || true`)},
		{"groups", `"name":"audit","lag":"0","pending":"0"`, curl(p, topic+"/groups", "")},
		{"seek", `"lag":"1"`, curl(p, topic+"/groups/audit/seek", `-d '{"start":true}'`)},
		{"server-sent events", `data: {`,
			curl(p, "/events/Stream/Consume", `-N --max-time 3 -H 'Accept: text/event-stream' -d '{"topic":"orders/new","group":"audit","auto_ack":true}' || true`)},
		{"an offset of another topic", `another topic`, curl(p, topic+"/events?after=1-0-00000000", "")},
		{"erase is not for people", `"code":404`, curl(p, "/events/Components/Erase", `-d '{"namespace":"events-http-space"}'`)},
		{"delete a group", `{}`, curl(p, topic+"/groups/audit", "-X DELETE")},
		{"delete", `{}`, curl(p, topic, "-X DELETE")},
	} {
		t.Run(c.name, func(t *testing.T) { expect(t, x, c.want, c.line) })
	}
}
