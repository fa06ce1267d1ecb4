package main

import (
	"crypto/rand"
	"fmt"
	"time"

	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/settings"
)

// minAdminPassword is the least length of the first operator's password on an
// address that others can reach.
const minAdminPassword = 12

// admin decides the first operator's password, and answers the one that was
// made up, to be printed once. On loopback it is "micro", as people know it,
// and the namespace micro is open.
func (s *server) admin(p *app.Platform, fresh bool) (made string, err error) {
	if s.loopback() {
		if p.AdminPassword == "" {
			p.AdminPassword = "micro"
		}
		if s.environ["MICRO_AUTH_PUBLIC_PLATFORM"] == "" {
			s.environ["MICRO_AUTH_PUBLIC_PLATFORM"] = "true"
		}
		return "", nil
	}
	if p.AdminPassword != "" && len(p.AdminPassword) < minAdminPassword {
		return "", fmt.Errorf("MICRO_ADMIN_PASSWORD must have at least %d characters when the server listens on more than loopback", minAdminPassword)
	}
	if p.AdminPassword != "" || !fresh {
		return "", nil
	}
	made = rand.Text()
	p.AdminPassword = settings.Secret(made)
	return made, nil
}

// banner says that the server is ready, where it is, and what to do next.
func (s *server) banner(took time.Duration, dir, madePassword string) {
	api, proxy, console := s.address("MICRO_GATEWAY_ADDRESS"), s.address("MICRO_PROXY_ADDRESS"), s.address("MICRO_CONSOLE_ADDRESS")
	fmt.Fprintf(s.out, `
Micro is ready in %.1f s.

  API      http://%s
  Proxy    %s
  Console  http://%s
  Mail     http://%s (the codes of sign-ups land here)
  Data     %s

Next, in another terminal:

  micro env %s
  micro signup
  micro new helloworld && micro run ./helloworld
  micro helloworld call --name=Jane

`, took.Seconds(), api, proxy, console, s.address("MICRO_INBOX_ADDRESS"), dir, environment(proxy))
	if madePassword != "" {
		fmt.Fprintf(s.out, "The first operator is account admin of namespace micro, password %s\nIt is shown this once.\n\n", madePassword)
	}
}

// environment is how the command line is told where this server is.
func environment(proxy string) string {
	if proxy == listeners["MICRO_PROXY_ADDRESS"] {
		return "set local"
	}
	return "add mine " + proxy + " && micro env set mine"
}
