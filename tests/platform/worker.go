package platform

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
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
