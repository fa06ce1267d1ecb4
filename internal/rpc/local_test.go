package rpc

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	registrypb "github.com/micro/platform/proto/registry"
)

// TestLocal makes the same calls with a transport and without, and wants the
// same answers and errors.
func TestLocal(t *testing.T) {
	t.Parallel()
	server, client, k := serve(t, noToken)
	good, old := k.token(t, time.Now().Add(time.Hour)), k.token(t, time.Now().Add(-time.Second))
	for _, tt := range []struct {
		name, service string
		header        []string
	}{
		{"a panic", "panic", nil},
		{"a private error", "private", nil},
		{"an error for the caller", "decided", nil},
		{"another component's error", "foreign", nil},
		{"nobody", "", nil},
		{"a good token", "", []string{"authorization", "Bearer " + good}},
		{"an expired token", "", []string{"authorization", "Bearer " + old}},
		{"garbage", "", []string{"authorization", "Bearer a.b.c"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			request := &registrypb.GetRequest{Service: tt.service}
			want, wantErr := client.GetService(metadata.AppendToOutgoingContext(t.Context(), tt.header...), request)
			body, err := proto.Marshal(request)
			if err != nil {
				t.Fatal(err)
			}
			a, gotErr := server.Call(t.Context(), registrypb.Registry_GetService_FullMethodName, "", metadata.Pairs(tt.header...), mem.BufferSlice{mem.SliceBuffer(body)})
			if g, w := status.Convert(gotErr), status.Convert(wantErr); g.Code() != w.Code() || g.Message() != w.Message() {
				t.Errorf("without a transport: %v %s, with one: %v %s", g.Code(), g.Message(), w.Code(), w.Message())
			}
			if wantErr != nil {
				return
			}
			var got registrypb.GetResponse
			if err := encoding.GetCodecV2("proto").Unmarshal(a.Message, &got); err != nil || !proto.Equal(&got, want) {
				t.Errorf("without a transport: %v (%v), with one: %v", &got, err, want)
			}
		})
	}
}

// TestLocalEncodings are those of the contract; others need a transport.
func TestLocalEncodings(t *testing.T) {
	t.Parallel()
	server, _, _ := serve(t, noToken)
	const method = registrypb.Registry_GetService_FullMethodName
	a, err := server.Call(t.Context(), method, "json", nil, mem.BufferSlice{mem.SliceBuffer(`{"service":"x"}`)})
	if err != nil || len(a.Message.Materialize()) == 0 || a.Message.Materialize()[0] != '{' {
		t.Errorf("Call in JSON = %s, %v", a.Message.Materialize(), err)
	}
	if _, err := server.Call(t.Context(), method, "json", nil, mem.BufferSlice{mem.SliceBuffer(`{"service":`)}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("half an object: %v, want InvalidArgument", err)
	}
	for _, tt := range []struct {
		method, encoding string
		want             bool
	}{
		{method, "", true},
		{method, "proto", true},
		{method, "json", true},
		{method, "bytes", false},
		{registrypb.Registry_Watch_FullMethodName, "", false}, // a stream
		{"/registry.Registry/Nothing", "", false},
	} {
		if got := server.Has(tt.method, tt.encoding); got != tt.want {
			t.Errorf("Has(%q, %q) = %v, want %v", tt.method, tt.encoding, got, tt.want)
		}
	}
}
