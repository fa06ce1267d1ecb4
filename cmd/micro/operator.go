package main

import (
	"crypto/rand"
	"fmt"
	"time"

	"github.com/micro/platform/internal/app"
	"github.com/micro/platform/internal/settings"
)

// minAdminPassword is the least length of the first operator's password where
// strangers come.
const minAdminPassword = 12

// strangers says why others than the person at this machine may come, or "".
func (s *server) strangers() string {
	switch plan := s.setting("MICRO_NAMESPACES_PLAN").Value; {
	case !s.loopback():
		return "the server listens on more than loopback"
	case s.environ["MICRO_GATEWAY_TRUSTED_PROXIES"] != "" || s.environ["MICRO_PROXY_TRUSTED_PROXIES"] != "":
		return "there is a proxy in front (MICRO_GATEWAY_TRUSTED_PROXIES, MICRO_PROXY_TRUSTED_PROXIES)"
	case plan != s.setting("MICRO_NAMESPACES_PLAN").Default:
		return "namespaces are on plan " + plan + " (MICRO_NAMESPACES_PLAN)"
	case !onLoopback(s.address("MICRO_SMTP_ADDRESS")):
		return "sign-ups get mail (MICRO_SMTP_ADDRESS)"
	}
	return ""
}

// checkPassword refuses a password of the first operator that can be guessed,
// where somebody could.
func (s *server) checkPassword(password settings.Secret) error {
	if why := s.strangers(); why != "" && password != "" && len(password) < minAdminPassword {
		return fmt.Errorf("MICRO_ADMIN_PASSWORD must have at least %d characters when %s", minAdminPassword, why)
	}
	return nil
}

// firstPassword decides the first operator's password, and answers the one that
// was made up, to be printed once. On a machine of one's own it is "micro", as
// people know it, and the namespace micro is open.
func (s *server) firstPassword(p *app.Platform, fresh bool) (made string, err error) {
	if s.strangers() == "" {
		if p.AdminPassword == "" {
			p.AdminPassword = "micro"
		}
		if s.environ["MICRO_AUTH_PUBLIC_PLATFORM"] == "" {
			s.environ["MICRO_AUTH_PUBLIC_PLATFORM"] = "true"
		}
		return "", nil
	}
	if err := s.checkPassword(p.AdminPassword); err != nil || p.AdminPassword != "" || !fresh {
		return "", err
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

`, took.Seconds(), api, proxy, console, s.address("MICRO_INBOX_ADDRESS"), dir, s.environment())
	if madePassword != "" {
		fmt.Fprintf(s.out, "The first operator is account admin of namespace micro, password %s\nIt is shown this once.\n\n", madePassword)
	}
}

// environment is how the command line is told where this server is.
func (s *server) environment() string {
	proxy := s.setting("MICRO_PROXY_ADDRESS")
	if proxy.Value == proxy.Default {
		return "set local"
	}
	return "add mine " + proxy.Value + " && micro env set mine"
}
