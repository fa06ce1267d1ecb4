package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/micro/platform/tests/platform"
)

// calls is how many calls the comparison makes each way, in turn, so that both
// see the same machine.
const calls = 500

// overhead compares a call through the HTTP edge with the same call made to the
// container directly.
func (d *demo) overhead() error {
	out, err := d.alice.Micro(d.ctx, "", "user", "token")
	if err != nil {
		return fmt.Errorf("micro user token: %w: %s", err, out)
	}
	token := strings.TrimSpace(out)
	address, err := d.node("helloworld")
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	var direct, edge []time.Duration
	for range calls {
		for _, way := range []struct {
			call  func(context.Context) error
			times *[]time.Duration
		}{
			{func(ctx context.Context) error { return platform.CallDirect(ctx, conn, token) }, &direct},
			{func(ctx context.Context) error { return d.callEdge(ctx, token) }, &edge},
		} {
			began := time.Now()
			if err := way.call(d.ctx); err != nil {
				return err
			}
			*way.times = append(*way.times, time.Since(began))
		}
	}
	slices.Sort(direct)
	slices.Sort(edge)
	d.facts = append(d.facts, fmt.Sprintf("a call, median of %d: direct %s, through the HTTP edge %s, so the edge adds %s (goal 1 ms)",
		calls, direct[calls/2].Round(time.Microsecond), edge[calls/2].Round(time.Microsecond), (edge[calls/2]-direct[calls/2]).Round(time.Microsecond)))
	fmt.Println("   " + d.facts[len(d.facts)-1])
	return nil
}

func (d *demo) callEdge(ctx context.Context, token string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+d.server.API+"/helloworld/Call", strings.NewReader(`{"name":"Jane"}`))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer rsp.Body.Close()
	body, err := io.ReadAll(rsp.Body)
	if err == nil && rsp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", rsp.Status, body)
	}
	return err
}

// node asks the registry for the address of a container.
func (d *demo) node(service string) (string, error) {
	out, err := d.alice.Micro(d.ctx, "", "get", "service", "-o", "json", service)
	if err != nil {
		return "", fmt.Errorf("micro get service: %w: %s", err, out)
	}
	var versions []struct {
		Nodes []struct {
			Address string `json:"address"`
		} `json:"nodes"`
	}
	if err := json.Unmarshal([]byte(out), &versions); err != nil {
		return "", err
	}
	if len(versions) == 0 || len(versions[0].Nodes) == 0 {
		return "", fmt.Errorf("service %s has no node", service)
	}
	return versions[0].Nodes[0].Address, nil
}
