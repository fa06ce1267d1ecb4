package platform

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/metadata"
)

// Program prepares a program of the operator's.
func Program(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = Clean(os.Environ())
	return cmd
}

// greeter is the handler of a service that calls helloworld. It needs nothing
// but the framework and the messages that micro new generated for itself: its
// own happen to have the fields of helloworld's.
const greeter = `package handler

import (
	"context"

	"github.com/micro/platform/framework/client"

	pb "greeter/proto"
)

// Greeter greets through another service.
type Greeter struct {
	Client client.Client
}

// Call asks helloworld and passes its answer on.
func (g *Greeter) Call(ctx context.Context, req *pb.Request, rsp *pb.Response) error {
	var answer pb.Response
	if err := g.Client.Call(ctx, g.Client.NewRequest("helloworld", "Helloworld.Call", req), &answer); err != nil {
		return err
	}
	rsp.Msg = "helloworld says: " + answer.Msg
	return nil
}
`

// WriteGreeter turns a project fresh from micro new greeter into one that calls
// helloworld.
func WriteGreeter(dir string) error {
	if err := os.WriteFile(filepath.Join(dir, "handler", "greeter.go"), []byte(greeter), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "main.go"), []byte(greeterMain), 0o644)
}

const greeterMain = `package main

import (
	"github.com/micro/platform/framework/logger"
	"github.com/micro/platform/framework/service"

	"greeter/handler"
)

func main() {
	srv := service.New(service.Name("greeter"))
	if err := srv.Handle(&handler.Greeter{Client: srv.Client()}); err != nil {
		logger.Fatal(err)
	}
	if err := srv.Run(); err != nil {
		logger.Fatal(err)
	}
}
`

// bytesCodec passes JSON as it is, under the name that services know it by.
type bytesCodec struct{ encoding.Codec }

func (bytesCodec) Name() string                  { return "json" }
func (bytesCodec) Marshal(v any) ([]byte, error) { return v.([]byte), nil }
func (bytesCodec) Unmarshal(b []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), b...)
	return nil
}

// JSON has a call's messages be JSON in bytes.
func JSON() grpc.CallOption { return grpc.ForceCodec(bytesCodec{}) }

// CallDirect calls helloworld in its container, past the edge.
func CallDirect(ctx context.Context, conn *grpc.ClientConn, token string) error {
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	var answer []byte
	err := conn.Invoke(ctx, "/helloworld.Helloworld/Call", []byte(`{"name":"Jane"}`), &answer, JSON())
	if err != nil {
		return fmt.Errorf("call the container: %w", err)
	}
	return nil
}
