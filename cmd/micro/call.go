package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/micro/platform/internal/cli/remote"
	"github.com/micro/platform/internal/cli/terminal"
)

const (
	// serviceTimeout bounds a call of a service, as all Micro clients have it.
	serviceTimeout = time.Minute
	// completeTimeout bounds what is asked to complete a word.
	completeTimeout = 2 * time.Second
)

// caller is what the flags of call and stream say.
type caller struct {
	output   string
	metadata []string
	address  string
	timeout  time.Duration
}

func (o *caller) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "json", "json, or raw for the bytes as received")
	f.StringSliceVar(&o.metadata, "metadata", nil, "metadata to send with the call: `key=value`")
	f.StringVar(&o.address, "address", "", "call the service at this `address`, bypassing the server")
}

func callCommand(c *cli) *cobra.Command {
	var o caller
	cmd := &cobra.Command{
		Use:     "call SERVICE ENDPOINT [JSON]",
		Short:   "Call an endpoint with JSON",
		Example: `  micro call helloworld Helloworld.Call '{"name": "Jane"}'`,
		Args:    serviceAndEndpoint,
		RunE: c.with(func(ctx context.Context, x *client, args []string) error {
			call, conn, err := o.prepare(x, args)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(ctx, o.timeout)
			defer cancel()
			rsp, err := call.Unary(ctx, conn)
			if err != nil {
				return err
			}
			return c.printAnswer(rsp, o.output == "raw")
		}),
		ValidArgsFunction: c.completeServices,
	}
	o.flags(cmd)
	cmd.Flags().DurationVar(&o.timeout, "request_timeout", serviceTimeout, "deadline of the call")
	return cmd
}

func streamCommand(c *cli) *cobra.Command {
	var o caller
	cmd := &cobra.Command{
		Use:     "stream SERVICE ENDPOINT [JSON]",
		Short:   "Call an endpoint with JSON and print each answer",
		Example: `  micro stream helloworld Helloworld.Stream '{"count": 3}'`,
		Args:    serviceAndEndpoint,
		RunE: c.with(func(ctx context.Context, x *client, args []string) error {
			call, conn, err := o.prepare(x, args)
			if err != nil {
				return err
			}
			return call.Stream(ctx, conn, func(rsp []byte) error { return c.printAnswer(rsp, o.output == "raw") })
		}),
		ValidArgsFunction: c.completeServices,
	}
	o.flags(cmd)
	return cmd
}

func serviceAndEndpoint(cmd *cobra.Command, args []string) error {
	if len(args) < 2 {
		return exactly("SERVICE", "ENDPOINT")(cmd, args)
	}
	if handler, method, ok := strings.Cut(args[1], "."); !ok || handler == "" || method == "" {
		return fail(remote.ExitBadMethod, "Method name %q invalid format. Expecting service.endpoint, such as Helloworld.Call", args[1])
	}
	return nil
}

// prepare makes the call that arguments and flags mean, and answers where to.
func (o *caller) prepare(x *client, args []string) (remote.Call, grpc.ClientConnInterface, error) {
	call := remote.Call{Service: args[0], Endpoint: args[1], Namespace: x.Namespace}
	if o.output != "json" && o.output != "raw" {
		return call, nil, usage("--output is %q: json and raw are possible", o.output)
	}
	var err error
	if call.Metadata, err = pairs("--metadata", o.metadata); err != nil {
		return call, nil, err
	}
	if call.Body, err = requestBody(strings.Join(args[2:], " ")); err != nil {
		return call, nil, fail(exitFailed, "Error creating request: %v", err)
	}
	if o.address == "" {
		return call, x.Conn, nil
	}
	conn, err := remote.Dial(o.address)
	return call, conn, err
}

// requestBody checks that text is one JSON object, and writes it as all Micro
// clients do: sorted, without spaces, numbers as they are.
func requestBody(text string) ([]byte, error) {
	if strings.TrimSpace(text) == "" {
		return []byte("{}"), nil
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var object map[string]any
	if err := d.Decode(&object); err != nil {
		return nil, fmt.Errorf("the request is not a JSON object: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("the request is not one JSON object: there is more behind it (byte %d)", d.InputOffset())
	}
	if object == nil {
		object = map[string]any{}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(object)
	return bytes.TrimSpace(b.Bytes()), err
}

// printAnswer prints what a service answered, indented unless it shall be raw.
func (c *cli) printAnswer(rsp []byte, raw bool) error {
	if raw {
		_, err := c.Out.Write(rsp)
		return err
	}
	if len(rsp) == 0 {
		rsp = []byte("{}")
	}
	var b bytes.Buffer
	if err := json.Indent(&b, rsp, "", "\t"); err != nil {
		return fail(remote.ExitBadMethod, "Error while trying to format the response: %v (--output raw prints it as it is)", err)
	}
	_, err := fmt.Fprintln(c.Out, terminal.Inert(b.String()))
	return err
}
