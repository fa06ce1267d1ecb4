package client

import (
	"context"

	"google.golang.org/grpc"

	"github.com/micro/platform/framework/internal/edge"
)

// Connection is a Client with a connection of its own.
type Connection struct {
	Client
	conn *grpc.ClientConn
}

// Dial connects a program that the platform does not run, with an API token of
// its own:
//
//	c, err := client.Dial("proxy.example.com", client.Options{Token: client.Token("mtk_…")})
//
// Port 443, also when there is none, is TLS, others are plaintext. Nothing is
// sent before the first call.
func Dial(address string, o Options) (*Connection, error) {
	conn, err := edge.Dial(address)
	if err != nil {
		return nil, err
	}
	if o.Token == nil {
		o.Token = Token("")
	}
	return &Connection{New(conn, o), conn}, nil
}

// Close ends the connection, and with it the calls and streams on it.
func (c *Connection) Close() error { return c.conn.Close() }

// Token is an API token or an access token for Options. "" is none: calls are
// anonymous then.
func Token(token string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return token, nil }
}
