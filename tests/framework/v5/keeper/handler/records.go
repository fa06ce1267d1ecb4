// Package handler holds the endpoints of keeper.
package handler

import (
	"bytes"
	"context"
	"io"
	"time"

	"github.com/micro/micro/v5/service/store"
)

// Empty is a message without fields.
type Empty struct{}

// Keys are the keys of records or blobs.
type Keys struct {
	Keys []string `json:"keys"`
}

// Record is one value.
type Record struct {
	Key      string            `json:"key"`
	Value    string            `json:"value"`
	Metadata map[string]string `json:"metadata"`
	// Seconds until it expires; 0 is never.
	Seconds int64 `json:"seconds"`
}

// Query selects records.
type Query struct {
	Key    string `json:"key"`
	Prefix bool   `json:"prefix"`
	Order  string `json:"order"`
	Limit  uint64 `json:"limit"`
	Offset uint64 `json:"offset"`
}

// Found are the records that a query selects.
type Found struct {
	Records []*Record `json:"records"`
}

// Records uses the store.
type Records struct{}

// Write stores a record.
func (*Records) Write(ctx context.Context, req *Record, rsp *Empty) error {
	r := &store.Record{Key: req.Key, Value: []byte(req.Value), Metadata: map[string]interface{}{}, Expiry: time.Duration(req.Seconds) * time.Second}
	for k, v := range req.Metadata {
		r.Metadata[k] = v
	}
	return store.Write(r)
}

// Read answers records, one or all with a prefix.
func (*Records) Read(ctx context.Context, req *Query, rsp *Found) error {
	var opts []store.ReadOption
	if req.Prefix {
		opts = append(opts, store.ReadPrefix(), store.ReadLimit(uint(req.Limit)), store.ReadOffset(uint(req.Offset)))
	}
	if req.Order != "" {
		opts = append(opts, store.ReadOrder(store.Order(req.Order)))
	}
	found, err := store.Read(req.Key, opts...)
	if err == store.ErrNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	for _, r := range found {
		rsp.Records = append(rsp.Records, &Record{Key: r.Key, Value: string(r.Value), Seconds: int64(r.Expiry / time.Second)})
	}
	return nil
}

// List answers keys.
func (*Records) List(ctx context.Context, req *Query, rsp *Keys) error {
	keys, err := store.List(store.ListPrefix(req.Key), store.ListLimit(uint(req.Limit)), store.ListOffset(uint(req.Offset)))
	rsp.Keys = keys
	return err
}

// Delete removes a record.
func (*Records) Delete(ctx context.Context, req *Record, rsp *Empty) error {
	return store.Delete(req.Key)
}

// Blob is a blob.
type Blob struct {
	Key  string `json:"key"`
	Data []byte `json:"data"`
}

// Blobs uses the blob store.
type Blobs struct{}

// Write stores a blob.
func (*Blobs) Write(ctx context.Context, req *Blob, rsp *Empty) error {
	return store.DefaultBlobStore.Write(req.Key, bytes.NewReader(req.Data))
}

// Read answers a blob.
func (*Blobs) Read(ctx context.Context, req *Blob, rsp *Blob) error {
	r, err := store.DefaultBlobStore.Read(req.Key)
	if err != nil {
		return err
	}
	rsp.Key = req.Key
	rsp.Data, err = io.ReadAll(r)
	return err
}

// List answers the keys of blobs.
func (*Blobs) List(ctx context.Context, req *Blob, rsp *Keys) error {
	keys, err := store.DefaultBlobStore.List(store.BlobListPrefix(req.Key))
	rsp.Keys = keys
	return err
}

// Delete removes a blob.
func (*Blobs) Delete(ctx context.Context, req *Blob, rsp *Empty) error {
	return store.DefaultBlobStore.Delete(req.Key)
}
