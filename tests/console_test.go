package tests

import (
	"bufio"
	"context"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/micro/platform/internal/browsertest"
	"github.com/micro/platform/internal/oidctest"
	"github.com/micro/platform/tests/platform"
)

// consolePassword is that of the people of the console's tests.
const consolePassword = "correct horse battery staple"

// TestConsole goes through the console in a real browser: password, passkey, an
// account elsewhere, members, and a terminal that is logged in from it.
// RELIABILITY: T25.
func TestConsole(t *testing.T) {
	t.Parallel()
	issuer := oidctest.New(t, "")
	page := browsertest.Open(t)
	p := start(t, false, "MICRO_AUTH_OIDC_ISSUER="+issuer.URL, "MICRO_AUTH_OIDC_ID="+oidctest.Client, "MICRO_AUTH_OIDC_SECRET="+oidctest.Secret,
		"MICRO_AUTH_OIDC_TITLE=Example")
	_, port, err := net.SplitHostPort(p.Console)
	if err != nil {
		t.Fatal(err)
	}
	home := "http://localhost:" + port
	issuer.SendBack(home + "/signin")
	jane, err := p.Person(t.Context(), "jane")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := jane.Signup(t.Context(), consolePassword, "jane"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	page.Call("WebAuthn.enable", nil, nil)
	page.Call("WebAuthn.addVirtualAuthenticator", map[string]any{"options": map[string]any{
		"protocol": "ctap2", "transport": "internal", "hasResidentKey": true, "hasUserVerification": true, "isUserVerified": true, "automaticPresenceSimulation": true,
	}}, nil)

	page.Visit(home)
	page.Fill("id", jane.Email)
	page.Fill("secret", "not the password")
	page.Click("Log in")
	page.Shows("Secret not correct")
	page.Fill("secret", consolePassword)
	page.Click("Log in")
	page.Shows("Nothing runs here yet")

	codes := addPasskey(page)
	page.Click("Log out")
	page.Click("Use a passkey")
	page.Shows("Nothing runs here yet")

	page.Click("Log out")
	issuer.Be(oidctest.Person{Subject: "jane", Email: jane.Email, Verified: true})
	page.Click("Continue with Example")
	page.Shows("has an account here")
	page.Fill("password", consolePassword)
	page.Fill("code", codes[0])
	page.Click("Link and log in")
	page.Shows("Nothing runs here yet")

	terminal(t, page, jane, home)

	page.Visit(home + "/#members")
	page.Fill("email", "john@example.com")
	page.Click("Invite")
	page.Shows("Send again")
	page.Click("Audit")
	page.Shows("namespaces.Invites.Create")
	page.Click("Usage")
	page.Shows("Plan: ")

	// Who is new signs up with the account elsewhere, without a password.
	page.Click("Log out")
	issuer.Be(oidctest.Person{Subject: "john", Email: "john@elsewhere.example.com", Verified: true})
	page.Click("Continue with Example")
	page.Shows("Make your namespace")
	page.Fill("namespace", "johns")
	page.Click("Sign up")
	page.Shows("Nothing runs here yet")
	page.Wait(`document.getElementById("namespace").value === "johns"`)
}

// terminal logs the command line in from the page.
func terminal(t *testing.T, page *browsertest.Page, jane *platform.Person, home string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := jane.Command(ctx, micro, "login", "--with", "browser")
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	code := ""
	lines := bufio.NewScanner(said)
	for code == "" && lines.Scan() {
		code = userCode.FindString(lines.Text())
	}
	page.Visit(home + "/#device")
	page.Fill("code", code)
	page.Click("Go on")
	page.Click("Log it in")
	page.Shows("The terminal is logged in")
	for lines.Scan() {
		t.Log(lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("micro login --with browser: %v", err)
	}
}

// userCode is how the code of a terminal is shown.
var userCode = regexp.MustCompile(`[A-Z2-7]{4}-[A-Z2-7]{4}`)

// addPasskey registers one, and answers the recovery codes.
func addPasskey(page *browsertest.Page) []string {
	page.Click("Security")
	page.Click("Add a passkey")
	page.Fill("name", "laptop")
	page.Fill("password", consolePassword)
	page.Click("Add")
	page.Shows("Recovery codes")
	codes := strings.Fields(page.Eval(`document.querySelector("dialog .codes").innerText`))
	page.Click("I have kept them")
	page.Shows("laptop")
	return codes
}
