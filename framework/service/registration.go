package service

import (
	"context"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/framework/internal/edge"
	registrypb "github.com/micro/platform/proto/registry"
)

// core is the namespace that calls of the platform's own services are sent to.
const core = "micro"

const (
	registerTTL     = 90 * time.Second
	heartbeat       = 30 * time.Second
	registerTimeout = 5 * time.Second
	// leaveTimeout bounds saying goodbye; the registration ends by itself.
	leaveTimeout = time.Second
	// retryMin and retryMax bound the wait after a failure: quick at first, and
	// at least a few attempts in the life of a registration.
	retryMin = 500 * time.Millisecond
	retryMax = 15 * time.Second
)

// entry is what the registry shows of this process.
func (s *Service) entry(address string) *registrypb.Service {
	md := map[string]string{"broker": "service", "registry": "service", "server": "grpc", "transport": "grpc", "protocol": "grpc"}
	for k, v := range s.opts.metadata {
		md[k] = v
	}
	return &registrypb.Service{
		Name: s.set.name, Version: s.set.version,
		Endpoints: s.server.Endpoints(),
		Nodes: []*registrypb.Node{{
			Id: s.set.name + "-" + strings.ToLower(rand.Text()), Address: address, Metadata: md,
		}},
		Options: &registrypb.Options{Ttl: int64(registerTTL / time.Second), Domain: s.set.namespace},
	}
}

// keepRegistered registers until ctx is done. A failure that stays the same is
// logged once.
func (s *Service) keepRegistered(ctx context.Context, entry *registrypb.Service) {
	wait, last := time.Duration(0), "never registered"
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		err := s.register(ctx, entry)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			if last != "" {
				s.log.Info("registered", "service", entry.GetName(), "version", entry.GetVersion(), "address", entry.GetNodes()[0].GetAddress())
			}
			wait, last = jitter(heartbeat), ""
		default:
			if err.Error() != last {
				s.log.Warn("not registered, trying again", "service", entry.GetName(), "platform", s.set.edge, "error", err)
			}
			if last == "" {
				wait = 0
			}
			wait, last = jitter(min(max(2*wait, retryMin), retryMax)), err.Error()
		}
	}
}

// jitter spreads out what many processes do that started together.
func jitter(d time.Duration) time.Duration {
	return d - time.Duration(mathrand.Int64N(int64(d)/5))
}

func (s *Service) register(ctx context.Context, entry *registrypb.Service) error {
	ctx, cancel := context.WithTimeout(ctx, registerTimeout)
	defer cancel()
	ctx, err := s.asItself(ctx)
	if err != nil {
		return err
	}
	_, err = s.registry.Register(ctx, entry)
	if err == nil {
		return nil
	}
	if errors.Code(err) == codes.Unauthenticated {
		s.account.Forget() // revoked, or signed with a key that is gone
		if s.account.id == "" {
			return fmt.Errorf("%w (%s)", errors.FromError(err), noAccount)
		}
	}
	return errors.FromError(err)
}

// deregister takes the service out of the routes at once.
func (s *Service) deregister(ctx context.Context, entry *registrypb.Service) error {
	ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
	defer cancel()
	ctx, err := s.asItself(ctx)
	if err != nil {
		return err
	}
	_, err = s.registry.Deregister(ctx, &registrypb.Service{
		Name: entry.GetName(), Version: entry.GetVersion(), Options: &registrypb.Options{Domain: s.set.namespace},
		Nodes: []*registrypb.Node{{Id: entry.GetNodes()[0].GetId(), Address: entry.GetNodes()[0].GetAddress()}},
	})
	return err
}

// asItself makes calls of the platform's services as this service.
func (s *Service) asItself(ctx context.Context) (context.Context, error) {
	token, err := s.account.Token(ctx)
	if err != nil {
		return nil, fmt.Errorf("get a token: %w", err)
	}
	md := metadata.Pairs("micro-namespace", core)
	if token != "" {
		md.Set("authorization", "Bearer "+token)
	}
	return metadata.NewOutgoingContext(ctx, md), nil
}

// address is where the platform reaches this process: as told, as listened on,
// or the address that packets to the platform leave from.
func (s *Service) address(ctx context.Context, listening net.Addr) (string, error) {
	if s.set.advertise != "" {
		return s.set.advertise, nil
	}
	tcp, ok := listening.(*net.TCPAddr)
	if !ok {
		return listening.String(), nil
	}
	if !tcp.IP.IsUnspecified() {
		return tcp.String(), nil
	}
	target, _ := edge.Target(s.set.edge)
	var d net.Dialer
	conn, err := d.DialContext(ctx, "udp", target) // sends nothing, but chooses a route
	if err != nil {
		return "", fmt.Errorf("find the address that %s reaches this service at (or set MICRO_SERVICE_ADVERTISE): %w", target, err)
	}
	defer conn.Close()
	host := conn.LocalAddr().(*net.UDPAddr).IP.String()
	return net.JoinHostPort(host, fmt.Sprint(tcp.Port)), nil
}
