package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/cli/source"
	runtimepb "github.com/micro/platform/proto/runtime"
)

// chunk is how much of an upload goes into a message.
const chunk = 64 << 10

// upload sends a directory and answers the source that it became.
func (c *cli) upload(ctx context.Context, x *client, p *progress, t *target) (string, error) {
	pack, err := source.List(t.local.Root)
	if err != nil {
		return "", usage("%v", err)
	}
	detail := fmt.Sprintf("%d files, %s", pack.Files(), size(pack.Bytes))
	if t.local.Root != t.local.Dir {
		detail += " of " + t.local.Root
	}
	p.say("uploading", detail)
	defer p.rest()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := runtimepb.NewSourceClient(x.Conn).Upload(ctx)
	if err != nil {
		return "", err
	}
	w := &uploadWriter{stream: stream, first: &runtimepb.Service{Name: t.service.GetName(), Version: t.service.GetVersion()}}
	_, err = pack.WriteTo(w)
	if err == nil {
		err = w.flush()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	// io.EOF from sending means that the server ended it; it says why here.
	rsp, err := stream.CloseAndRecv()
	return rsp.GetId(), err
}

// uploadWriter sends what is written, in messages. The first names the service.
type uploadWriter struct {
	stream runtimepb.Source_UploadClient
	first  *runtimepb.Service
	buf    []byte
}

func (w *uploadWriter) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		room := min(chunk-len(w.buf), len(b))
		w.buf, b = append(w.buf, b[:room]...), b[room:]
		if len(w.buf) == chunk {
			if err := w.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

func (w *uploadWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	err := w.stream.Send(&runtimepb.UploadRequest{Service: w.first, Data: w.buf})
	w.first, w.buf = nil, make([]byte, 0, chunk)
	return err
}

func size(bytes int64) string {
	switch {
	case bytes >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20))
	case bytes >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(bytes)/(1<<10))
	default:
		return fmt.Sprintf("%d bytes", bytes)
	}
}

// watchEvery is how often a watched directory is looked at.
const watchEvery = 500 * time.Millisecond

// watchDirectory deploys again at every change of a file, until it is stopped.
// What does not build is shown, and waited for.
func (c *cli) watchDirectory(ctx context.Context, x *client, d *deployment, t *target) error {
	again := *d
	again.force = true
	last, err := source.Stamps(t.local.Root)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.Err, "Watching %s. Ctrl-C stops watching, the service stays.\n", t.local.Root)
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now, err := source.Stamps(t.local.Root)
		if err != nil || maps.EqualFunc(last, now, slices.Equal[[]int64]) {
			continue // while files are being saved some come and go
		}
		last = now
		if err := c.deployOnce(ctx, x, &again, t, c.create); err != nil && ctx.Err() == nil {
			fmt.Fprintln(c.Err, x.explained(err))
		}
	}
}
