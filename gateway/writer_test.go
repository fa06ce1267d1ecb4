package gateway

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/micro/platform/proxy/edge"
)

// timedWriter remembers until when it may write.
type timedWriter struct {
	*httptest.ResponseRecorder
	deadlines []time.Time
}

func (w *timedWriter) SetWriteDeadline(at time.Time) error {
	w.deadlines = append(w.deadlines, at)
	return nil
}

// TestAnswerHasATime shows that an answer has a time as a whole, by its size.
func TestAnswerHasATime(t *testing.T) {
	t.Parallel()
	g := &Gateway{opts: Options{Options: edge.Options{Unread: time.Minute}}}
	to := &timedWriter{ResponseRecorder: httptest.NewRecorder()}
	w := g.newWriter(to)
	began := time.Now()
	if _, err := w.Write(make([]byte, 100*edge.LeastRate)); err != nil {
		t.Fatal(err)
	}
	last := to.deadlines[len(to.deadlines)-1]
	if got, want := last.Sub(began).Round(time.Second), time.Minute+100*time.Second; got != want || len(to.deadlines) != 2 {
		t.Errorf("%s in %d steps, want %s at once", got, len(to.deadlines)-1, want)
	}
}
