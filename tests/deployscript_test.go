package tests

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// wavesStack is a stack that deploy.sh brings up in two waves of two.
const wavesStack = `version: "3.9"
x-service: &service
  image: micro/builder-go
  command: [/bin/busybox, sleep, "1000"]
  networks: [host]
  stop_grace_period: 1s
  environment: {PRICE: "5$$"}
  deploy:
    endpoint_mode: dnsrr
    update_config: {order: start-first, monitor: 2s, failure_action: rollback}
    restart_policy: {delay: 1s}
services:
  zulu:
    <<: *service
  # The second of its wave.
  yankee:
    <<: *service
    command: COMMAND
  alpha:
    <<: *service
  migrate:
    <<: *service
    command: [/bin/busybox, "true"]
    deploy: {mode: replicated-job, endpoint_mode: dnsrr}
networks:
  host: {external: true, name: host}
`

// addedStack is what an operator adds to it.
const addedStack = `version: "3.9"
services:
  alpha:
    labels: {added: "yes"}
  bravo:
    image: micro/builder-go
    command: [/bin/busybox, sleep, "1000"]
    networks: [host]
    deploy: {endpoint_mode: dnsrr}
`

// TestDeployScript has deploy/swarm/deploy.sh bring up a stack and change it, by a
// version that does not start, too.
func TestDeployScript(t *testing.T) {
	t.Parallel()
	if out, err := docker(t.Context(), "swarm", "init", "--listen-addr", "127.0.0.1:2377", "--advertise-addr", "127.0.0.1"); err != nil && !strings.Contains(out, "already part of a swarm") {
		t.Fatalf("%v: %s", err, out)
	}
	dir, stack := t.TempDir(), "deploy-"+strings.ToLower(rand.Text()[:8])
	if err := os.CopyFS(dir, os.DirFS("../deploy/swarm")); err != nil {
		t.Fatal(err)
	}
	write := func(file, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	deploy := func(command string) (string, error) {
		t.Helper()
		write("stack.yaml", strings.Replace(wavesStack, "COMMAND", command, 1))
		cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "deploy.sh"), "added.yaml")
		cmd.WaitDelay = 5 * time.Second // of a docker that it left
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	environment := "STACK=" + stack + "\nRESOLVE_IMAGE=never\n"
	write("stack.env", environment+"WAVE=2\nWAVE_TIMEOUT=60\n")
	write("added.yaml", addedStack)
	t.Cleanup(func() {
		if out, err := docker(context.WithoutCancel(t.Context()), "stack", "rm", stack); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})

	const (
		sleeps = `[/bin/busybox, sleep, "2000"]`
		ends   = `[/bin/busybox, "false"]`
	)
	out, err := deploy(sleeps)
	if err != nil {
		t.Fatalf("deploy.sh: %v: %s", err, out)
	}
	if waves := "deploy.sh: migrate|deploy.sh: zulu yankee|deploy.sh: alpha bravo|deploy.sh: all of it runs"; strings.Join(lines(out, "deploy.sh: "), "|") != waves {
		t.Errorf("deploy.sh deploys %s, not %s", out, waves)
	}
	if after, before := started(t, stack+"_alpha"), started(t, stack+"_yankee"); !after.After(before) {
		t.Errorf("the second wave runs since %v, the first since %v", after, before)
	}
	if got := inspect(t, stack+"_alpha", `{{index .Spec.TaskTemplate.ContainerSpec.Labels "added"}} {{.Spec.TaskTemplate.ContainerSpec.Env}}`); got != "yes [PRICE=5$]" {
		t.Errorf("alpha has %s", got)
	}

	if out, err = deploy(ends); err == nil || !strings.Contains(out, "rollback_completed") {
		t.Errorf("deploy.sh with what does not start: %v: %s", err, out)
	}
	if strings.Contains(out, "alpha") {
		t.Errorf("deploy.sh goes on after a wave that failed: %s", out)
	}
	if got := inspect(t, stack+"_yankee", "{{.Spec.TaskTemplate.ContainerSpec.Args}}"); !strings.Contains(got, "2000") {
		t.Errorf("what does not start is not back: %s", got)
	}
	write("stack.env", environment+"WAVE=2\nWAVE_TIMEOUT=1\n")
	if out, err := deploy(`[/bin/busybox, sleep, "3000"]`); err == nil || !strings.Contains(out, "after 1 seconds") {
		t.Errorf("deploy.sh with a second for a wave: %v: %s", err, out)
	}
	write("stack.env", environment+"WAVE=2\nWAVE_TIMEOUT=60\n") // while Swarm may still be at it
	out, err = deploy(`[/bin/busybox, sleep, "3000"]`)
	if got := inspect(t, stack+"_yankee", "{{.Spec.TaskTemplate.ContainerSpec.Args}}"); err != nil || !strings.Contains(got, "3000") {
		t.Fatalf("deploy.sh, mended: %v: %s\nit runs %s", err, out, got)
	}
	write("stack.env", environment+"WAVE=none\n")
	if out, err := deploy(sleeps); err == nil {
		t.Errorf("deploy.sh takes any WAVE: %s", out)
	}
}

// lines answers those of a text that begin so.
func lines(text, prefix string) []string {
	var found []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, prefix) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

func docker(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "docker", args...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// inspect answers something of a service.
func inspect(t *testing.T, service, format string) string {
	t.Helper()
	out, err := docker(t.Context(), "service", "inspect", "--format", format, service)
	if err != nil {
		t.Fatalf("docker service inspect %s: %v: %s", service, err, out)
	}
	return out
}

// started answers when a service was made.
func started(t *testing.T, service string) time.Time {
	t.Helper()
	var at time.Time
	if err := at.UnmarshalText([]byte(inspect(t, service, `{{.CreatedAt.Format "2006-01-02T15:04:05.999999999Z07:00"}}`))); err != nil {
		t.Fatal(fmt.Errorf("%s: %w", service, err))
	}
	return at
}
