package main

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/pgtest"
	"github.com/micro/platform/internal/redistest"
	"github.com/micro/platform/internal/seal"
	brokerpb "github.com/micro/platform/proto/broker"
	configpb "github.com/micro/platform/proto/config"
	"github.com/micro/platform/services/broker"
	"github.com/micro/platform/services/config"
)

// TestScriptsWithConfig runs the commands of settings and messages against the
// real config and broker.
func TestScriptsWithConfig(t *testing.T) {
	t.Parallel()
	componentScripts(t, "config", func() string { return identity.Platform }, startConfig)
}

// startConfig serves config and broker to an operator.
func startConfig(t *testing.T, s *grpc.Server) (stop func(), err error) {
	box, err := seal.New(seal.Cluster{Secret: pgtest.Secret}, "config")
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.DiscardHandler)
	settings := config.New(pgtest.New(t, "config"), box, log, config.Options{MaxBytes: 1 << 20, MaxValues: 1000, History: 10, Watchers: 10})
	if err := settings.Prepare(t.Context()); err != nil {
		return nil, err
	}
	messages := broker.New(redistest.New(t), log, broker.Options{Subscribers: 10, Buffer: 100, BufferBytes: 1 << 20, NamespaceBytes: 64 << 20, Wait: time.Minute})
	configpb.RegisterConfigServer(s, settings)
	brokerpb.RegisterBrokerServer(s, messages)
	ctx, cancel := context.WithCancel(context.Background())
	go settings.Listen(ctx) //nolint:errcheck // ends by stop
	go messages.Listen(ctx) //nolint:errcheck // ends by stop
	return cancel, nil
}
