package events

import (
	"time"
	"unicode/utf8"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	eventspb "github.com/micro/platform/proto/events"
)

// Bounds of an event and of a request.
const (
	maxPayload  = 1 << 20
	maxMetadata = 16 << 10 // bytes of all keys and values
	maxEntries  = 64       // of metadata
	maxBatch    = 1000     // events
	maxGroup    = 128      // bytes of a group's name
	maxWindow   = 1000
	maxRead     = 1000
	defaultRead = 250
	maxOffset   = 100_000 // events that Read leaves out
)

// clockSkew is how far a time of a client may be ahead of the platform's.
const clockSkew = time.Minute

// farthest is a time that no event has, in unix seconds: the year 9999.
const farthest = 253402300799

func invalid(format string, args ...any) error {
	return errors.New(codes.InvalidArgument, format, args...)
}

func clip(s string) string { return errors.Clip(s) }

func checkEvent(e *eventspb.Event) error {
	if n := len(e.GetPayload()); n > maxPayload {
		return errors.NewHTTP(413, "payload of %d bytes: an event has at most %d", n, maxPayload)
	}
	if n := len(e.GetMetadata()); n > maxEntries {
		return invalid("metadata has at most %d entries, got %d", maxEntries, n)
	}
	size := 0
	for k, v := range e.GetMetadata() {
		size += len(k) + len(v)
	}
	if size > maxMetadata {
		return invalid("metadata of %d bytes: keys and values are at most %d together", size, maxMetadata)
	}
	if e.GetTimestamp() < 0 || e.GetTimestamp() > farthest {
		return invalid("timestamp %d: in unix seconds, 0 is now", e.GetTimestamp())
	}
	return nil
}

// checkGroup checks the name of a group; it may be empty.
func checkGroup(name string) error {
	if len(name) > maxGroup || !printable(name) {
		return invalid("group %q: at most %d printable bytes", clip(name), maxGroup)
	}
	return nil
}

func printable(s string) bool {
	for _, r := range s {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return false
		}
	}
	return true
}

func checkConsume(req *eventspb.ConsumeRequest, now time.Time) error {
	if err := checkGroup(req.GetGroup()); err != nil {
		return err
	}
	if !req.GetAutoAck() && req.GetAckWait() <= 0 {
		// The words are what existing clients see, and so is the status.
		return errors.NewHTTP(500, "invalid AckWait passed, should be positive integer")
	}
	if req.GetRetryLimit() < -1 {
		return invalid("retry_limit %d: -1 is for ever, and less is nothing", req.GetRetryLimit())
	}
	if req.GetWindow() < 0 || req.GetWindow() > maxWindow {
		return invalid("window %d: 0 to %d", req.GetWindow(), maxWindow)
	}
	if req.GetOffset() > 0 {
		if req.GetAfter() != "" {
			return invalid("offset and after: one of them")
		}
		return checkTime("offset", req.GetOffset(), now)
	}
	return nil // less is what a zero time becomes
}

// checkTime checks a place in the past.
func checkTime(field string, unixSeconds int64, now time.Time) error {
	if unixSeconds > now.Add(clockSkew).Unix() {
		return invalid("%s %d is in the future, it is %d now", field, unixSeconds, now.Unix())
	}
	return nil
}

func checkRead(req *eventspb.ReadRequest, now time.Time) error {
	if req.GetLimit() > maxRead {
		return invalid("limit %d: at most %d, read on with after", req.GetLimit(), maxRead)
	}
	if req.GetOffset() > maxOffset {
		return invalid("offset %d: at most %d, use after or since", req.GetOffset(), maxOffset)
	}
	if req.GetSince() < 0 {
		return invalid("since %d is negative", req.GetSince())
	}
	if req.GetSince() > 0 && req.GetAfter() != "" {
		return invalid("since and after: one of them")
	}
	return checkTime("since", req.GetSince(), now)
}

func checkSeek(req *eventspb.SeekRequest, now time.Time) error {
	if req.GetGroup() == "" {
		return invalid("Missing group")
	}
	if err := checkGroup(req.GetGroup()); err != nil {
		return err
	}
	places := 0
	for _, named := range []bool{req.GetAfter() != "", req.GetSince() != 0, req.GetStart(), req.GetEnd()} {
		if named {
			places++
		}
	}
	if places != 1 {
		return invalid("name one of after, since, start and end")
	}
	if req.GetSince() < 0 {
		return invalid("since %d is negative", req.GetSince())
	}
	return checkTime("since", req.GetSince(), now)
}
