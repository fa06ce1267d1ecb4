package runtime

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	schedulerpb "github.com/micro/platform/proto/scheduler"
)

// lastWords is how long lines of containers are waited for, before they are removed
// and after.
const lastWords = time.Second

// witness follows what the containers of a revision say while they are removed.
// ended waits for the last of it, and answers an end for each container.
func (r *reconciler) witness(ctx context.Context, rev revision) (ended func() []crash) {
	ctx, cancel := context.WithCancel(ctx)
	said := map[string][]*schedulerpb.LogLine{}
	there, begun := context.WithTimeout(ctx, lastWords) // what was said so far
	var work sync.WaitGroup
	work.Go(func() {
		defer begun()
		stream, err := r.svc.peers.Scheduler.Logs(ctx, &schedulerpb.LogsRequest{Id: rev.id().message(), Follow: true, Count: crashLines})
		for err == nil { // to the end, or as far as it goes
			var l *schedulerpb.LogLine
			if l, err = stream.Recv(); err != nil {
				return
			}
			if l.GetReady() {
				begun()
				continue
			}
			lines := append(said[l.GetContainer()], l)
			said[l.GetContainer()] = lines[max(0, len(lines)-crashLines):]
		}
	})
	<-there.Done()
	return func() (out []crash) {
		late := time.AfterFunc(lastWords, cancel)
		work.Wait()
		late.Stop()
		cancel()
		for _, container := range slices.Sorted(maps.Keys(said)) {
			out = append(out, crash{
				Revision: rev.Number, Container: container, At: r.svc.now(), Asked: true,
				Reason: "stopped: " + reasonOr(rev.Reason, "it was asked for"), Lines: lastOf(said[container]),
			})
		}
		return out
	}
}
