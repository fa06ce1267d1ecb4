// Command goclient is a program outside the platform.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"google.golang.org/grpc/codes"

	"example.com/user/helloworld"
	"github.com/micro/platform/framework/client"
	"github.com/micro/platform/framework/errors"
)

func main() {
	c, err := client.Dial(os.Getenv("MICRO_TEST_PROXY"), client.Options{Token: client.Token(os.Getenv("MICRO_TEST_TOKEN"))})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if err := use(context.Background(), helloworld.New(c), c); err != nil {
		log.Fatal(err)
	}
}

func use(ctx context.Context, hello *helloworld.Client, c client.Client) error {
	rsp, err := hello.Call(ctx, &helloworld.Request{Name: "Jane"})
	if err != nil {
		return fmt.Errorf("call: %w", err)
	}
	counted, err := hello.Stream(ctx, &helloworld.StreamingRequest{Count: 3})
	if err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	messages := 0
	for _, err := range counted.All() {
		if err != nil {
			return fmt.Errorf("stream: %w", err)
		}
		messages++
	}
	pingPong, err := hello.PingPong(ctx)
	if err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	defer pingPong.Close()
	if err := pingPong.Send(&helloworld.Ping{Stroke: 7}); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	pong, err := pingPong.Recv()
	if err != nil {
		return fmt.Errorf("pong: %w", err)
	}
	err = c.Call(ctx, c.NewRequest("nothere", "A.B", map[string]any{}, client.WithContentType("application/json")), &map[string]any{})
	fmt.Printf("%s; %d messages; pong %d; missing: %t\n", rsp.Msg, messages, pong.Stroke, errors.Code(err) == codes.NotFound)
	return nil
}
