package audit

import (
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	auditpb "github.com/micro/platform/proto/audit"
)

// Bounds of an entry and of a listing.
const (
	maxName      = 512 // bytes
	maxTargets   = 32
	maxLimit     = 1000
	defaultLimit = 100
	page         = 1000 // entries that Export reads at once
)

func invalid(format string, args ...any) error {
	return errors.New(codes.InvalidArgument, format, args...)
}

func checkEntry(e *auditpb.Entry) error {
	if e.GetNamespace() == "" || e.GetAccount() == "" || e.GetAction() == "" {
		return invalid("entry: namespace, account and action are required")
	}
	for _, s := range []string{e.GetNamespace(), e.GetAccount(), e.GetAccountType(), e.GetSession(), e.GetAddress(), e.GetRequestId(), e.GetAction()} {
		if len(s) > maxName {
			return invalid("entry: a field has %d bytes, at most %d are allowed", len(s), maxName)
		}
	}
	if n := len(e.GetTarget()); n > maxTargets {
		return invalid("entry: %d targets, at most %d are allowed", n, maxTargets)
	}
	for k, v := range e.GetTarget() {
		if len(k)+len(v) > maxName {
			return invalid("target %q has %d bytes, at most %d are allowed", errors.Clip(k), len(k)+len(v), maxName)
		}
	}
	return nil
}

func checkList(req *auditpb.ListRequest) error {
	if n := req.GetLimit(); n < 0 || n > maxLimit {
		return invalid("limit %d: 1 to %d", n, maxLimit)
	}
	if req.GetBefore() < 0 {
		return invalid("before %d: the id of an entry", req.GetBefore())
	}
	return checkFilter(req.GetFilter())
}

func checkFilter(f *auditpb.Filter) error {
	if f.GetSince() < 0 || f.GetUntil() < 0 {
		return invalid("since and until are milliseconds since the epoch")
	}
	if f.GetUntil() > 0 && f.GetUntil() <= f.GetSince() {
		return invalid("until %d is not after since %d", f.GetUntil(), f.GetSince())
	}
	return nil
}
