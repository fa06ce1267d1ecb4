package platform

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/grpc"
)

// worker is a service whose calls take as long as they are told to, and say which
// they were and which code answered.
const worker = `package handler

import (
	"context"
	"fmt"
	"strings"
	"time"

	pb "worker/proto"
)

const code = "code 0"

type Worker struct{}

// Call answers "TIME NUMBER" after that time.
func (*Worker) Call(_ context.Context, req *pb.Request, rsp *pb.Response) error {
	took, _, _ := strings.Cut(req.Name, " ")
	d, err := time.ParseDuration(took)
	if err != nil {
		return err
	}
	time.Sleep(d)
	rsp.Msg = fmt.Sprintf("%s from %s", req.Name, code)
	return nil
}

// Stream sends a message every 100 ms.
func (*Worker) Stream(_ context.Context, req *pb.StreamingRequest, stream pb.Worker_StreamStream) error {
	for i := range req.Count {
		time.Sleep(100 * time.Millisecond)
		if err := stream.Send(&pb.StreamingResponse{Count: i}); err != nil {
			return err
		}
	}
	return nil
}

func (*Worker) PingPong(context.Context, pb.Worker_PingPongStream) error { return nil }
`

// WriteWorker turns a project fresh from micro new worker into that service.
func WriteWorker(dir string, code int) error {
	source := strings.Replace(worker, "code 0", fmt.Sprintf("code %d", code), 1)
	return os.WriteFile(filepath.Join(dir, "handler", "worker.go"), []byte(source), 0o644)
}

// WorkerMessages is how many messages a stream of the worker's has that is read
// here, one every 100 ms.
const WorkerMessages = 30

// WorkerStreamRequest is what such a stream is asked for with.
var WorkerStreamRequest = fmt.Sprintf(`{"count":%d}`, WorkerMessages)

// CallWorker has the worker answer "TIME NUMBER" over gRPC.
func CallWorker(ctx context.Context, conn *grpc.ClientConn, method, name string) error {
	request, _ := json.Marshal(map[string]string{"name": name}) // strings always marshal
	var answer []byte
	err := conn.Invoke(ctx, method, request, &answer, JSON())
	return WorkerAnswered(name, string(answer), err)
}

// WorkerAnswered is the error of a call that was to be answered under a name.
func WorkerAnswered(name, answer string, err error) error {
	if err == nil && !strings.Contains(answer, `"`+name+" from code") {
		err = fmt.Errorf("answered %q", answer)
	}
	return err
}

// StreamWorker reads a stream of the worker's over gRPC.
func StreamWorker(ctx context.Context, conn *grpc.ClientConn) error {
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/worker.Worker/Stream", JSON())
	if err != nil {
		return err
	}
	if err := errors.Join(s.SendMsg([]byte(WorkerStreamRequest)), s.CloseSend()); err != nil {
		return err
	}
	var n int
	for ; ; n++ {
		var answer []byte
		if err = s.RecvMsg(&answer); err != nil {
			break
		}
	}
	if err == io.EOF {
		err = nil
	}
	return complete(n, err)
}

// ReadWorkerStream reads a stream of the worker's from the body of an answer.
func ReadWorkerStream(body io.Reader) error {
	n, lines := 0, bufio.NewScanner(body)
	for lines.Scan() {
		n += strings.Count(lines.Text(), "{")
		if strings.Contains(lines.Text(), `"detail"`) {
			return fmt.Errorf("after %d messages: %s", n, lines.Text())
		}
	}
	return complete(n, lines.Err())
}

func complete(n int, err error) error {
	if err == nil && n != WorkerMessages {
		err = fmt.Errorf("%d messages of %d", n, WorkerMessages)
	}
	if err != nil {
		err = fmt.Errorf("after %d messages: %w", n, err)
	}
	return err
}

// crash is code that ends a service as it starts.
const crash = `package handler

import (
	"fmt"
	"os"
)

func init() {
	fmt.Fprintln(os.Stderr, "no such database")
	os.Exit(3)
}
`

// BreakWorker makes that service end as it starts, with code 3 and "no such
// database", until it is mended.
func BreakWorker(dir string) (mend func() error, err error) {
	name := filepath.Join(dir, "handler", "crash.go")
	return func() error { return os.Remove(name) }, os.WriteFile(name, []byte(crash), 0o644)
}
