// Package config reads the settings of the namespace:
//
//	retries := config.Get("mail.retries").Int(3)
//	key := config.Get("mail.key", config.Secret(true)).String("")
//
// The first Get fetches all settings and keeps watching them: another Get costs
// no call, and answers a change within a second of it. While the platform is
// away, what is known stays in force.
//
// The functions work for the service that service.New has made, as that service
// and not as its caller. New works with any client.
package config

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/client"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/framework/internal/current"
	configpb "github.com/micro/platform/proto/config"
)

// service is what the platform's config is called.
const service = "config"

// callTimeout bounds a call, and the wait for the first settings.
const callTimeout = 5 * time.Second

// Options are what Option changes.
type Options struct {
	// Secret is set by Secret.
	Secret bool
}

// Option changes a Get or a Set.
type Option func(*Options)

// Secret makes Get answer secrets as they are, instead of "[secret]", and Set
// keep the value as one.
func Secret(is bool) Option { return func(o *Options) { o.Secret = is } }

func options(opts []Option) Options {
	var o Options
	for _, set := range opts {
		set(&o)
	}
	return o
}

// Config is the settings of the namespace that a client works for.
type Config struct {
	client client.Client
	ctx    context.Context // of its watches: it ends at Close
	close  context.CancelFunc

	mu      sync.Mutex
	plain   *watched
	secrets *watched
}

// New makes a Config. It calls nobody before it is used; Close ends what it has
// started then.
func New(c client.Client) *Config {
	ctx, cancel := context.WithCancel(context.Background())
	return &Config{client: c, ctx: ctx, close: cancel}
}

// Close ends the watching.
func (c *Config) Close() { c.close() }

// program is the Config of the program's service. It lives as long as the
// program does.
var program current.One[Config]

func ofService() (*Config, error) { return program.Get(New, (*Config).Close) }

// Get answers the value at a path, "a.b.c". There is always one to ask for its
// type and a default.
func Get(path string, opts ...Option) Value {
	c, err := ofService()
	if err != nil {
		return Value{err: err}
	}
	return c.Get(path, opts...)
}

// Set writes a value that JSON can hold. A map or struct is merged into what is
// there.
func Set(path string, value any, opts ...Option) error {
	c, err := ofService()
	if err != nil {
		return err
	}
	return c.Set(path, value, opts...)
}

// Delete removes what is at a path.
func Delete(path string) error {
	c, err := ofService()
	if err != nil {
		return err
	}
	return c.Delete(path)
}

// Watch calls f with the value at a path, now and whenever it has changed,
// until ctx is done. It answers ctx's error.
func Watch(ctx context.Context, path string, f func(Value), opts ...Option) error {
	c, err := ofService()
	if err != nil {
		return err
	}
	return c.Watch(ctx, path, f, opts...)
}

// Get is like the function.
func (c *Config) Get(path string, opts ...Option) Value {
	ctx, cancel := context.WithTimeout(c.ctx, callTimeout)
	defer cancel()
	return c.document(options(opts)).value(ctx, path)
}

// Set is like the function.
func (c *Config) Set(path string, value any, opts ...Option) error {
	data, err := json.Marshal(value)
	if err != nil {
		return errors.New(codes.InvalidArgument, "the value of %q: %v", path, err).From("go.micro.client")
	}
	rsp := &configpb.SetResponse{}
	return c.change("Config.Set", &configpb.SetRequest{
		Path: path, Value: &configpb.Value{Data: string(data), Format: "json"}, Options: &configpb.Options{Secret: options(opts).Secret},
	}, rsp, rsp.GetVersion)
}

// Delete is like the function.
func (c *Config) Delete(path string) error {
	rsp := &configpb.DeleteResponse{}
	return c.change("Config.Delete", &configpb.DeleteRequest{Path: path}, rsp, rsp.GetVersion)
}

// change makes a change and, when it comes back, Get knows of it.
func (c *Config) change(endpoint string, req, rsp any, version func() int64) error {
	ctx, cancel := context.WithTimeout(c.ctx, callTimeout)
	defer cancel()
	if err := c.client.Call(ctx, c.client.NewRequest(service, endpoint, req), rsp, client.WithAuthToken()); err != nil {
		return err
	}
	c.mu.Lock()
	known := []*watched{c.plain, c.secrets}
	c.mu.Unlock()
	for _, d := range known {
		if d != nil {
			d.refresh(ctx, version())
		}
	}
	return nil
}

// Watch is like the function.
func (c *Config) Watch(ctx context.Context, path string, f func(Value), opts ...Option) error {
	d := c.document(options(opts))
	told, last := false, ""
	for {
		changed := d.changes()
		if v := d.value(ctx, path); v.err == nil && (!told || v.text() != last) {
			told, last = true, v.text()
			f(v)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.ctx.Done():
			return c.ctx.Err()
		case <-changed:
		}
	}
}

func (c *Config) document(o Options) *watched {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := &c.plain
	if o.Secret {
		at = &c.secrets
	}
	if *at == nil {
		*at = newWatched(c.client, o.Secret)
		go (*at).run(c.ctx)
	}
	return *at
}
