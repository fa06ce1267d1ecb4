package lost

import (
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
)

// away are the SQLSTATEs of a Postgres that stops, starts, has no room for another
// connection, or is a standby that was the primary (PostgreSQL manual, appendix A).
var away = map[string]bool{
	"57P01": true, // admin_shutdown
	"57P02": true, // crash_shutdown
	"57P03": true, // cannot_connect_now
	"53300": true, // too_many_connections
	"25006": true, // read_only_sql_transaction
}

// Is says whether err comes from a connection that broke off, or could not be made.
func Is(err error) bool {
	var told *pgconn.PgError
	if errors.As(err, &told) {
		return away[told.Code]
	}
	var network net.Error
	return errors.Code(err) == codes.Unavailable || errors.As(err, &network) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || pgconn.SafeToRetry(err)
}
