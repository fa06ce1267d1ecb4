package store

import (
	"context"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

type options struct {
	ctx                context.Context //nolint:containedctx // it lives as long as the call
	database, table    string
	isPrefix, isSuffix bool   // of Read: what the key is
	prefix, suffix     string // of List
	limit, offset      uint
	order              Order
	after              string
	absent             bool
	version            int64
	err                error
}

// Option changes a call. Each says of which it is.
type Option func(*options)

// Order is how records are sorted.
type Order string

// The orders, by key.
const (
	OrderAsc  Order = "asc"
	OrderDesc Order = "desc"
)

// Context bounds a call. Without it that is a minute.
func Context(ctx context.Context) Option { return func(o *options) { o.ctx = ctx } }

// Database is the namespace, for those who may use another than their own.
func Database(name string) Option { return func(o *options) { o.database = name } }

// Table is where records are.
func Table(name string) Option { return func(o *options) { o.table = name } }

// Prefix makes Read take all records whose keys begin with the key.
func Prefix() Option { return func(o *options) { o.isPrefix = true } }

// Suffix makes Read take all records whose keys end with the key.
func Suffix() Option { return func(o *options) { o.isSuffix = true } }

// ListPrefix leaves List the keys that begin so.
func ListPrefix(prefix string) Option { return func(o *options) { o.prefix = prefix } }

// ListSuffix leaves List the keys that end so.
func ListSuffix(suffix string) Option { return func(o *options) { o.suffix = suffix } }

// Limit is how many records or keys to answer; 0 is all.
func Limit(n uint) Option { return func(o *options) { o.limit = n } }

// Offset is how many to leave out.
func Offset(n uint) Option { return func(o *options) { o.offset = n } }

// After goes on behind a key, the last of the page before. Unlike an offset it
// misses nothing while others write.
func After(key string) Option { return func(o *options) { o.after = key } }

// OrderBy sorts what Read and List answer; OrderAsc unless set.
func OrderBy(order Order) Option { return func(o *options) { o.order = order } }

// IfAbsent makes Write write only when there is no such key; it answers the code
// AlreadyExists when there is.
func IfAbsent() Option { return func(o *options) { o.absent = true } }

// IfVersion makes Write and Delete work only when the record still has the
// version that it was read with; they answer the code
// FailedPrecondition when it has not.
func IfVersion(version int64) Option {
	return func(o *options) {
		o.version = version
		if version <= 0 { // 0 would ask for nothing
			o.err = errors.New(codes.InvalidArgument, "version %d: use that of a record that was read", version).From("go.micro.client")
		}
	}
}
