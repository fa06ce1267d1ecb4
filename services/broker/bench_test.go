package broker

import (
	"strings"
	"testing"

	"github.com/micro/platform/internal/redistest"
	brokerpb "github.com/micro/platform/proto/broker"
)

// BenchmarkFanOut publishes 1 KB to ten who listen, and waits for all of them:
// through the broker's API, and by ten clients of bare Redis.
func BenchmarkFanOut(b *testing.B) {
	const subscribers = 10
	body := strings.Repeat("x", 1024)
	run := func(b *testing.B, receive []func() error, publish func() error) {
		b.Helper()
		errs := make(chan error, subscribers)
		n := b.N
		for _, r := range receive {
			go func() {
				for range n {
					if err := r(); err != nil {
						errs <- err
						return
					}
				}
				errs <- nil
			}()
		}
		b.ResetTimer()
		for range n {
			if err := publish(); err != nil {
				b.Fatal(err)
			}
		}
		for range receive {
			if err := <-errs; err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(n*subscribers)/b.Elapsed().Seconds(), "deliveries/s")
	}
	b.Run("bare", func(b *testing.B) {
		topic, r := redistest.Namespace(b), redistest.New(b)
		var receive []func() error
		for range subscribers {
			s := redistest.New(b).Subscribe(b.Context(), topic)
			defer s.Close()
			if _, err := s.Receive(b.Context()); err != nil {
				b.Fatal(err)
			}
			receive = append(receive, func() error { _, err := s.ReceiveMessage(b.Context()); return err })
		}
		run(b, receive, func() error { return r.Publish(b.Context(), topic, body).Err() })
	})
	b.Run("broker", func(b *testing.B) {
		p, ctx := start(b, Options{Buffer: 1 << 20, BufferBytes: 1 << 30}), as(b, redistest.Namespace(b))
		var receive []func() error
		for range subscribers {
			s := p.subscribe(b, ctx, "t", "")
			receive = append(receive, func() error { _, err := s.Recv(); return err })
		}
		m := &brokerpb.PublishRequest{Topic: "t", Message: &brokerpb.Message{Body: []byte(body)}}
		run(b, receive, func() error { _, err := p.client.Publish(ctx, m); return err })
	})
}
