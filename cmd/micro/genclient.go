package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/clientgen"
)

const (
	// documentTimeout bounds fetching a service's OpenAPI document.
	documentTimeout = 30 * time.Second
	// maxDocument bounds the document.
	maxDocument = 16 << 20
)

// genClient is what the flags of gen client say.
type genClient struct {
	golang, typeScript bool
	out, api           string
}

func genClientCommand(c *cli) *cobra.Command {
	var o genClient
	cmd := &cobra.Command{
		Use:   "client --go|--ts [--out DIR] SERVICE",
		Short: "Write a typed client of a service, for Go or TypeScript",
		Long: `Writes a client of a service that runs, with a method for each endpoint that you may
call, from the service's OpenAPI document. A client for Go needs the framework, one
for TypeScript the package @micro/platform-client. What is written depends on the
service only, so it can be kept and compared.`,
		Example:           "  micro gen client --ts --out src/clients helloworld",
		Args:              exactly("SERVICE"),
		ValidArgsFunction: c.completeServices,
		RunE: c.with(func(ctx context.Context, x *client, args []string) error {
			if o.golang == o.typeScript {
				return usage("--go or --ts is needed")
			}
			if o.api == "" {
				o.api = apiOf(x.env.ProxyAddress)
			}
			document, err := x.document(ctx, o.api, args[0])
			if err != nil {
				return err
			}
			return c.writeClient(o, args[0], document)
		}),
	}
	f := cmd.Flags()
	f.BoolVar(&o.golang, "go", false, "for Go: DIR/client.go")
	f.BoolVar(&o.typeScript, "ts", false, "for TypeScript: DIR/client.ts")
	f.StringVar(&o.out, "out", "", "`directory` to write to, created if missing (default: SERVICE-client)")
	f.StringVar(&o.api, "api", "", "address of the HTTP API, like https://api.example.com, where it is not next to the proxy")
	return cmd
}

// document fetches the OpenAPI document of a service.
func (x *client) document(ctx context.Context, api, service string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, documentTimeout)
	defer cancel()
	token, err := x.Token(ctx)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(api, "/")+"/"+url.PathEscape(service)+"/openapi.json", nil)
	if err != nil {
		return nil, usage("--api is %q: write http:// or https:// and a host", api)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if x.Namespace != defaultNamespace && x.Namespace != "" {
		req.Header.Set("Micro-Namespace", x.Namespace)
	}
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fail(exitFailed, "the HTTP API cannot be reached: %v (--api names it)", err)
	}
	defer rsp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(rsp.Body, maxDocument))
	if err != nil {
		return nil, fmt.Errorf("read the OpenAPI document: %w", err)
	}
	if rsp.StatusCode == http.StatusOK {
		return body, nil
	}
	var refused errors.Error
	if json.Unmarshal(body, &refused) != nil || refused.Detail == "" {
		return nil, fail(exitFailed, "%s answered %s: is that the HTTP API? (--api names it)", api, rsp.Status)
	}
	return nil, errors.Parse(string(body))
}

// writeClient writes the client of a service.
func (c *cli) writeClient(o genClient, service string, document []byte) error {
	file, dir := "client.ts", service
	source, err := clientgen.TypeScript(document)
	if o.golang {
		file = "client.go"
		source, dir, err = clientgen.Go(document)
	}
	if err != nil {
		return fail(exitFailed, "%v", err)
	}
	dir += "-client" // beside the source of the service, which is where many stand
	if o.out != "" {
		dir = o.out
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	path := filepath.Join(dir, file)
	if err := os.WriteFile(path, source, 0o644); err != nil {
		return err
	}
	fmt.Fprintln(c.Out, path)
	return nil
}
