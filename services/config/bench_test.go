package config

import (
	"fmt"
	"testing"

	configpb "github.com/micro/platform/proto/config"
)

// BenchmarkGet reads one value of a document of 50, beside the bare query.
func BenchmarkGet(b *testing.B) {
	s := setup(b)
	ctx := admin(b, "demo")
	for i := range 50 {
		set(b, s, ctx, fmt.Sprintf("group%d.key%d", i%5, i), `"a value of some length"`, false)
	}
	b.Run("bare query", func(b *testing.B) {
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				if _, err := s.db.read(ctx, "demo"); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("get", func(b *testing.B) {
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				if _, err := s.Get(ctx, &configpb.GetRequest{Path: "group1.key1"}); err != nil {
					b.Error(err)
				}
			}
		})
	})
}
