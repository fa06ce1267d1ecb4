package full

import (
	"syscall"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/micro/platform/framework/errors"
)

// Reason is the word for programs that callers get. By it another component's
// answer is recognised, too.
const Reason = "storage_full"

// diskFull is Postgres' SQLSTATE.
const diskFull = "53100"

// Storage answers what a caller hears of an error that comes from full storage,
// or nil if it comes from something else.
func Storage(err error) *errors.Error {
	if !is(err) {
		return nil
	}
	return errors.New(codes.ResourceExhausted, "storage full: the platform cannot keep more until its operators have made room. What was acknowledged is kept: try again later").
		For(Reason).Because(err)
}

// is looks at every error in the tree: the outermost may be one for the caller
// that only has this as its cause.
func is(err error) bool {
	switch x := err.(type) { //nolint:errorlint // this is what walks the tree
	case nil:
		return false
	case syscall.Errno:
		return x == syscall.ENOSPC || x == syscall.EDQUOT
	case redis.Error:
		return redis.IsOOMError(x) || redis.HasErrorPrefix(x, "MISCONF")
	case *errors.Error:
		return x.Reason == Reason || is(x.Unwrap())
	case interface{ SQLState() string }:
		return x.SQLState() == diskFull
	case interface{ GRPCStatus() *status.Status }:
		return errors.Parse(x.GRPCStatus().Message()).Reason == Reason
	case interface{ Unwrap() error }:
		return is(x.Unwrap())
	case interface{ Unwrap() []error }:
		for _, e := range x.Unwrap() {
			if is(e) {
				return true
			}
		}
	}
	return false
}
