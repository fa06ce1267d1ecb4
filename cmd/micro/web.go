package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/micro/platform/services/console"
)

func webCommand(c *cli) *cobra.Command {
	var address, api string
	cmd := &cobra.Command{
		Use: "web", Short: "Serve the web console of the current environment on this machine",
		Long: `Serves the web console to a browser on this machine. The console talks to the HTTP
API of the current environment; --api names it where it is not next to the proxy.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := c.place()
			if err != nil {
				return err
			}
			if api == "" {
				api = apiOf(p.env.ProxyAddress)
			}
			return c.serveWeb(cmd.Context(), address, api)
		},
	}
	cmd.Flags().StringVar(&address, "address", "127.0.0.1:8083", "where to listen")
	cmd.Flags().StringVar(&api, "api", "", "address of the HTTP API, like https://api.example.com")
	return cmd
}

// apiOf guesses where the API of a proxy is: on its own name behind TLS, and on
// the port that Micro has always used otherwise.
func apiOf(proxy string) string {
	host, port, err := net.SplitHostPort(proxy)
	if err != nil {
		host, port = proxy, "443"
	}
	if port == "443" {
		if rest, ok := strings.CutPrefix(host, "proxy."); ok {
			host = "api." + rest
		}
		return "https://" + host
	}
	return "http://" + net.JoinHostPort(host, "8080")
}

func (c *cli) serveWeb(ctx context.Context, address, api string) error {
	handler, err := console.New(console.Options{Address: address, API: api})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("%w: --address chooses another port", err)
	}
	s := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	fmt.Fprintf(c.Out, "The console of %s is at http://%s (Ctrl-C ends it)\n", api, l.Addr())
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
