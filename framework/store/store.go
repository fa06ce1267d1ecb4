// Package store keeps records on the platform: values under keys, in tables.
//
//	err := store.Write(store.NewRecord("orders/17", order), store.Table("shop"))
//
//	records, err := store.Read("orders/", store.Prefix(), store.Limit(20))
//	for _, r := range records {
//		var o Order
//		err := r.Decode(&o)
//	}
//
// A service's records are in a table of its own name unless Table says another;
// all services of a namespace may read them. What is written is on the
// platform's disk. Blobs keeps what is too large for a record.
//
// The functions work for the service that service.New has made, as that service
// and not as its caller. New works with any client.
package store

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/client"
	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/framework/internal/current"
	storepb "github.com/micro/platform/proto/store"
)

// service is what the platform's store is called.
const service = "store"

// ErrNotFound is what Read answers for a key that there is none of, also when
// its time was up.
var ErrNotFound error = errors.New(codes.NotFound, "not found")

// Record is a value under a key.
type Record struct {
	Key   string
	Value []byte
	// Metadata is kept as text: what is read is a string.
	Metadata map[string]any
	// Expiry is how long the record lives, 0 for ever; when it was read, what is
	// left of that.
	Expiry time.Duration
	// Version is another one with every write of the record: see IfVersion.
	Version int64

	err error // of NewRecord: Write answers it
}

// NewRecord makes a record of a value in JSON. What JSON cannot hold, Write
// answers.
func NewRecord(key string, value any) *Record {
	b, err := json.Marshal(value)
	if err != nil {
		err = errors.New(codes.InvalidArgument, "the value of key %q: %v", key, err).From("go.micro.client")
	}
	return &Record{Key: key, Value: b, err: err}
}

// Decode reads the value's JSON into v.
func (r *Record) Decode(v any) error { return json.Unmarshal(r.Value, v) }

// Store is the records of the namespace that a client works for.
type Store struct {
	client   client.Client
	defaults []Option
}

// New makes a Store. The options are those of all its calls.
func New(c client.Client, defaults ...Option) *Store { return &Store{c, defaults} }

// ofService answers the store of the program's service.
func ofService() (*Store, error) {
	c, err := current.Client()
	if err != nil {
		return nil, err
	}
	return New(c, Table(os.Getenv("MICRO_SERVICE_NAME"))), nil
}

// Read reads for the program's service.
func Read(key string, opts ...Option) ([]*Record, error) {
	s, err := ofService()
	if err != nil {
		return nil, err
	}
	return s.Read(key, opts...)
}

// Write writes for the program's service.
func Write(r *Record, opts ...Option) error {
	s, err := ofService()
	if err != nil {
		return err
	}
	return s.Write(r, opts...)
}

// Delete deletes for the program's service.
func Delete(key string, opts ...Option) error {
	s, err := ofService()
	if err != nil {
		return err
	}
	return s.Delete(key, opts...)
}

// List lists for the program's service.
func List(opts ...Option) ([]string, error) {
	s, err := ofService()
	if err != nil {
		return nil, err
	}
	return s.List(opts...)
}

// Read answers the record of a key, or ErrNotFound; with Prefix or Suffix all
// whose keys begin or end with it, of which there may be none.
func (s *Store) Read(key string, opts ...Option) ([]*Record, error) {
	o := s.options(opts)
	rsp := &storepb.ReadResponse{}
	err := s.call(o, "Store.Read", &storepb.ReadRequest{Key: key, Options: &storepb.ReadOptions{
		Database: o.database, Table: o.table, Prefix: o.isPrefix, Suffix: o.isSuffix,
		Limit: uint64(o.limit), Offset: uint64(o.offset), Order: string(o.order), After: o.after,
	}}, rsp)
	if errors.Code(err) == codes.NotFound {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	records := make([]*Record, 0, len(rsp.GetRecords()))
	for _, r := range rsp.GetRecords() {
		records = append(records, fromProto(r))
	}
	return records, nil
}

// Write adds a record or replaces it, and sets its version. After an error that
// is Unavailable it may have been written or not.
func (s *Store) Write(r *Record, opts ...Option) error {
	if r.err != nil {
		return r.err
	}
	o := s.options(opts)
	rsp := &storepb.WriteResponse{}
	err := s.call(o, "Store.Write", &storepb.WriteRequest{Record: toProto(r), Options: &storepb.WriteOptions{
		Database: o.database, Table: o.table, IfAbsent: o.absent, IfVersion: o.version,
	}}, rsp)
	if err != nil {
		return err
	}
	r.Version = rsp.GetVersion()
	return nil
}

// Delete deletes a record. One that is missing is no error.
func (s *Store) Delete(key string, opts ...Option) error {
	o := s.options(opts)
	return s.call(o, "Store.Delete", &storepb.DeleteRequest{Key: key, Options: &storepb.DeleteOptions{
		Database: o.database, Table: o.table, IfVersion: o.version,
	}}, &storepb.DeleteResponse{})
}

// List answers keys: all of the table, or those that ListPrefix and ListSuffix
// leave.
func (s *Store) List(opts ...Option) ([]string, error) {
	o := s.options(opts)
	req := s.client.NewRequest(service, "Store.List", &storepb.ListRequest{Options: &storepb.ListOptions{
		Database: o.database, Table: o.table, Prefix: o.prefix, Suffix: o.suffix,
		Limit: uint64(o.limit), Offset: uint64(o.offset), Order: string(o.order), After: o.after,
	}})
	stream, err := s.client.Stream(o.ctx, req, client.WithAuthToken(), client.WithRequestTimeout(listTimeout))
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	if err := stream.CloseSend(); err != nil {
		return nil, err
	}
	var keys []string
	for {
		rsp := &storepb.ListResponse{}
		err := stream.RecvMsg(rsp)
		if err == io.EOF {
			return keys, nil
		}
		if err != nil {
			return nil, err
		}
		keys = append(keys, rsp.GetKeys()...)
	}
}

// listTimeout bounds a listing.
const listTimeout = time.Minute

func (s *Store) options(opts []Option) options {
	o := options{ctx: context.Background()}
	for _, set := range s.defaults {
		set(&o)
	}
	for _, set := range opts {
		set(&o)
	}
	return o
}

func (s *Store) call(o options, endpoint string, req, rsp any) error {
	if o.err != nil {
		return o.err
	}
	return s.client.Call(o.ctx, s.client.NewRequest(service, endpoint, req), rsp, client.WithAuthToken())
}

func toProto(r *Record) *storepb.Record {
	out := &storepb.Record{Key: r.Key, Value: r.Value, ExpiryMs: r.Expiry.Milliseconds(), Expiry: int64(r.Expiry / time.Second)}
	for k, v := range r.Metadata {
		if out.Metadata == nil {
			out.Metadata = map[string]*storepb.Field{}
		}
		out.Metadata[k] = &storepb.Field{Type: fmt.Sprintf("%T", v), Value: fmt.Sprint(v)}
	}
	if r.Expiry > 0 && out.ExpiryMs == 0 {
		out.ExpiryMs = 1 // the least that there is: not for ever
	}
	return out
}

func fromProto(r *storepb.Record) *Record {
	out := &Record{Key: r.GetKey(), Value: r.GetValue(), Metadata: map[string]any{}, Version: r.GetVersion(),
		Expiry: time.Duration(r.GetExpiryMs()) * time.Millisecond}
	for k, f := range r.GetMetadata() {
		out.Metadata[k] = f.GetValue()
	}
	return out
}
