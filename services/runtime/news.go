package runtime

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/identity"
	"github.com/micro/platform/internal/pause"
	eventspb "github.com/micro/platform/proto/events"
)

// The types of what happens to a service.
const (
	serviceCreated = "service.created"
	serviceUpdated = "service.updated"
	serviceDeleted = "service.deleted"
)

const (
	// newsTopic is where a namespace hears of its services.
	newsTopic = "runtime"
	// newsPoll is the time between two looks for what is to be published.
	newsPoll = 500 * time.Millisecond
	// newsBatch is how many are published at once.
	newsBatch = 100
	// newsTimeout bounds one publish.
	newsTimeout = 10 * time.Second
	// newsLife is how long a namespace whose topic is refused is tried.
	newsLife = 24 * time.Hour
)

// news is what happened to a service.
type news struct {
	ID        int64
	Namespace string
	Type      string
	Name      string
	Version   string
	Source    string
	Metadata  map[string]string
	CreatedAt time.Time
}

// newsPayload is the payload of an event, in the names that Micro's has.
type newsPayload struct {
	Type      string
	Service   newsService
	Namespace string
}

type newsService struct {
	Name     string
	Version  string
	Source   string
	Metadata map[string]string
}

// newsLoop publishes what happened to services. One process does it at a time,
// so that a namespace hears of it in order.
func newsLoop(ctx context.Context, d db, events eventspb.StreamClient, log *slog.Logger) error {
	failing := false
	for range pause.Ticks(ctx, newsPoll) {
		err := publishNews(ctx, d, events)
		if err != nil && !failing && ctx.Err() == nil {
			log.WarnContext(ctx, "what happened to services is not published, trying again", "error", err)
		}
		failing = err != nil
	}
	return nil
}

// publishNews publishes what there is. A namespace whose event is refused is
// tried again later, and does not hold up the others.
func publishNews(ctx context.Context, d db, events eventspb.StreamClient) error {
	var refused error
	skip := map[string]bool{}
	for after := int64(0); ; {
		found, err := d.news(ctx, after, newsBatch)
		if err != nil {
			return err
		}
		for _, n := range found {
			after = n.ID
			if skip[n.Namespace] {
				continue
			}
			err := publishOne(ctx, events, n)
			switch code := errors.Code(err); {
			case code == codes.Unavailable || code == codes.DeadlineExceeded || code == codes.Canceled:
				return fmt.Errorf("publish news: %w", err)
			case err != nil && time.Since(n.CreatedAt) < newsLife:
				refused, skip[n.Namespace] = fmt.Errorf("publish news of namespace %s: %w", n.Namespace, err), true
				continue
			}
			if err := d.forgetNews(ctx, n.ID); err != nil {
				return err
			}
		}
		if len(found) < newsBatch {
			return refused
		}
	}
}

func publishOne(ctx context.Context, events eventspb.StreamClient, n news) error {
	payload, err := json.Marshal(newsPayload{Type: n.Type, Namespace: n.Namespace,
		Service: newsService{Name: n.Name, Version: n.Version, Source: n.Source, Metadata: n.Metadata}})
	if err != nil {
		return fmt.Errorf("encode news: %w", err)
	}
	ctx, cancel := context.WithTimeout(identity.AsComponent(ctx), newsTimeout)
	defer cancel()
	_, err = events.Publish(ctx, &eventspb.PublishRequest{
		Topic: newsTopic, Namespace: n.Namespace, Payload: payload, Timestamp: n.CreatedAt.Unix(),
		Metadata: map[string]string{"type": n.Type, "namespace": n.Namespace},
	})
	return err
}
