package containers

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"

	hostpb "github.com/micro/platform/proto/host"
)

// What of a log says how its container ended, at most.
const (
	tailLines = 100
	tailBytes = 32 << 10
)

// tail answers the last lines of a container's log.
func (d *Docker) tail(ctx context.Context, id string) ([]*hostpb.Line, error) {
	r, err := d.engine.ContainerLogs(ctx, id, container.LogsOptions{
		ShowStdout: true, ShowStderr: true, Timestamps: true, Tail: strconv.Itoa(tailLines),
	})
	if err != nil {
		return nil, fmt.Errorf("read log of container %s: %w", id, err)
	}
	defer r.Close()
	var lines []*hostpb.Line
	size := 0
	err = Frames(r, func(frame string) error {
		at, text, ok := ParseLine(frame)
		if !ok {
			return nil
		}
		lines = append(lines, &hostpb.Line{At: at.UnixMilli(), Text: strings.ToValidUTF8(text, "\uFFFD")})
		for size += len(text); size > tailBytes; lines = lines[1:] {
			size -= len(lines[0].GetText())
		}
		return nil
	})
	return lines, err
}

// ParseLine reads a frame with the time in front: "time text".
func ParseLine(frame string) (at time.Time, text string, ok bool) {
	stamp, text, _ := strings.Cut(frame, " ")
	at, err := time.Parse(time.RFC3339Nano, stamp)
	text = strings.TrimRight(text, "\r\n")
	return at, text[:min(len(text), MaxLine)], err == nil
}
