package full_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"

	merrors "github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/full"
)

// refusal is an error as Redis answers it.
type refusal string

func (r refusal) Error() string { return string(r) }
func (refusal) RedisError()     {}

var _ redis.Error = refusal("")

func TestStorage(t *testing.T) {
	t.Parallel()
	disk := &os.PathError{Op: "write", Path: "/data/x", Err: syscall.ENOSPC}
	for _, tt := range []struct {
		name string
		err  error
		want bool
	}{
		{"nothing", nil, false},
		{"disk", fmt.Errorf("write blob: %w", disk), true},
		{"quota of a disk", fmt.Errorf("write blob: %w", syscall.EDQUOT), true},
		{"another error of the disk", fmt.Errorf("write blob: %w", syscall.EIO), false},
		{"one of several", errors.Join(context.Canceled, disk), true},
		{"Postgres", fmt.Errorf("insert: %w", &pgconn.PgError{Code: "53100"}), true},
		{"another error of Postgres", &pgconn.PgError{Code: "23505"}, false},
		{"Redis' disk", fmt.Errorf("publish: %w", refusal("MISCONF Errors writing to the AOF file")), true},
		{"Redis' memory", refusal("OOM command not allowed when used memory > 'maxmemory'."), true},
		{"another error of Redis", refusal("NOSCRIPT No matching script"), false},
		{"decided otherwise", merrors.New(codes.Unavailable, "try again").Because(disk), true},
		{"another component", merrors.New(codes.Unavailable, "try again").Because(full.Storage(disk).GRPCStatus().Err()), true},
		{"another limit", merrors.New(codes.ResourceExhausted, "too many").GRPCStatus().Err(), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			told := full.Storage(tt.err)
			if (told != nil) != tt.want {
				t.Fatalf("full is %v, want %v", told != nil, tt.want)
			}
			if told != nil && (merrors.Code(told) != codes.ResourceExhausted || !strings.HasPrefix(told.Detail, "storage full") || strings.Contains(told.JSON(), "/data")) {
				t.Errorf("callers get %s", told.JSON())
			}
		})
	}
}
