package swarm

import (
	"context"
	"time"

	hostpb "github.com/micro/platform/proto/host"
)

// Ended is a container that ran and does not any more. Docker gives its address
// to the next one.
type Ended struct {
	Namespace string
	IP        string
	At        time.Time
}

const (
	// maxEnded bounds what waits to be told. More is left to the registry, where
	// nodes that are not renewed end by themselves.
	maxEnded = 1000
	// tellEvery is the wait before another try to tell, and tellTries how many
	// there are.
	tellEvery = time.Second
	tellTries = 30
)

// noteEnded notes the end of a container that ran. is is what it is now, nil when
// it is gone.
func (d *Driver) noteEnded(was, is *hostpb.Container) {
	if was.GetIp() == "" {
		return
	}
	e := Ended{Namespace: was.GetNamespace(), IP: was.GetIp(), At: d.now()}
	// Exactly, since another one may have got the address and registered by now.
	if t := is.GetEnded(); t != 0 {
		e.At = time.UnixMicro(t)
	}
	select {
	case d.ended <- e:
	default:
	}
}

// TellEnded has tell called for every container that ends, until ctx does.
func (d *Driver) TellEnded(ctx context.Context, tell func(context.Context, Ended) error) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-d.ended:
			d.tellEnded(ctx, e, tell)
		}
	}
}

func (d *Driver) tellEnded(ctx context.Context, e Ended, tell func(context.Context, Ended) error) {
	for range tellTries {
		err := func() error {
			ctx, cancel := context.WithTimeout(ctx, callTimeout)
			defer cancel()
			return tell(ctx, e)
		}()
		if err == nil || ctx.Err() != nil {
			return
		}
		d.log.Debug("the end of a container could not be told", "namespace", e.Namespace, "error", err)
		if pause(ctx, tellEvery) != nil {
			return
		}
	}
}
