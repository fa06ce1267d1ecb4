package host

import (
	"fmt"
	"net"
	"time"

	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/services/images/mirror"
)

// Options come from MICRO_HOST_*.
type Options struct {
	Images string        `env:"IMAGES_ADDRESS" default:"127.0.0.1:5000" help:"where this host's Docker finds the platform's images, on loopback; MICRO_SCHEDULER_IMAGES names it to the scheduler. Without certificates there is none"`
	Keep   time.Duration `env:"IMAGES_KEEP"    default:"24h"            help:"how long this host keeps an image of the platform that no container has"`
}

// mirrorImages serves the platform's images to the Docker of this host, and to
// whoever else is on the host: not beyond.
func mirrorImages(h *app.Host, o Options) error {
	if !h.Secure() {
		return nil
	}
	if host, _, err := net.SplitHostPort(o.Images); err != nil || !net.ParseIP(host).IsLoopback() {
		return fmt.Errorf("MICRO_HOST_IMAGES_ADDRESS is %q: it has to be on loopback, like 127.0.0.1:5000", o.Images)
	}
	way, err := h.Transport(mirror.Component)
	if err != nil {
		return err
	}
	l, err := h.Listen("MICRO_HOST_IMAGES_ADDRESS", o.Images)
	if err != nil {
		return err
	}
	h.ServeHTTP(app.Transfers(mirror.New(way, h.Log)), l)
	return nil
}
