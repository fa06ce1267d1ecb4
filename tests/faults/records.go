package faults

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/micro/platform/framework/client"
	"github.com/micro/platform/framework/store"
)

// page is how many records are read at once.
const page = 500

// filler makes what is written longer than its number.
func filler(id ID, size int) []byte {
	return bytes.Repeat([]byte(id.String()+" "), size/8)
}

// Records writes each message as a record of a table, once.
func Records(c client.Client, table string) *Load {
	ledger := NewLedger("store records", false)
	s := store.New(c, store.Table(table))
	return &Load{
		Workers: 8, Every: 40 * time.Millisecond, Ledgers: []*Ledger{ledger},
		Send: func(ctx context.Context, id ID) error {
			return s.Write(&store.Record{Key: id.String(), Value: filler(id, 256)}, store.Context(ctx))
		},
		Collect: func(ctx context.Context) error {
			ledger.Recount()
			for after := ""; ; {
				found, err := s.Read("", store.Prefix(), store.After(after), store.Limit(page), store.Context(ctx))
				if err != nil || len(found) == 0 {
					return err
				}
				for _, r := range found {
					after = r.Key
					if err := receive(ledger, r.Key, bytes.NewReader(r.Value), 256); err != nil {
						return err
					}
				}
			}
		},
	}
}

// Blobs writes each message as a blob below a prefix, once.
func Blobs(c client.Client, prefix string) *Load {
	const size = 100 << 10
	ledger := NewLedger("store blobs", false)
	b := store.NewBlobs(c)
	return &Load{
		Workers: 2, Every: 100 * time.Millisecond, Ledgers: []*Ledger{ledger},
		Send: func(ctx context.Context, id ID) error {
			return b.Write(prefix+id.String(), bytes.NewReader(filler(id, size)), store.BlobOptions{}, store.Context(ctx))
		},
		Collect: func(ctx context.Context) error {
			ledger.Recount()
			keys, err := b.List(prefix, store.BlobOptions{}, store.Context(ctx))
			if err != nil {
				return err
			}
			for _, key := range keys {
				r, err := b.Read(key, store.BlobOptions{}, store.Context(ctx))
				if err != nil {
					return fmt.Errorf("read blob %s: %w", key, err)
				}
				err = receive(ledger, strings.TrimPrefix(key, prefix), r, size)
				r.Close()
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// receive books what is whole. What is not is as good as lost.
func receive(l *Ledger, name string, value io.Reader, size int) error {
	id, err := ParseID(name)
	if err != nil {
		return err
	}
	got, err := io.ReadAll(value)
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if bytes.Equal(got, filler(id, size)) {
		l.Received(id)
	}
	return nil
}
