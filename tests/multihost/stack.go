package multihost

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/micro/platform/internal/pgtest"
)

// stackName is what the operator calls the stack.
const stackName = "micro"

// surroundings is what an installation has that deploy/swarm/stack.yaml does not
// bring: the bucket and Go's modules as directories of all hosts, and whom to
// believe that is the mail server.
const surroundings = `version: "3.9"
services:
%s`

// NewStack deploys deploy/swarm/stack.yaml on a rig as an operator does, with the
// program as images micro:1 and micro-host:1.
func NewStack(ctx context.Context, r *Rig, micro string) (*Site, error) {
	s := &Site{Rig: r, micro: micro}
	if err := s.deployStack(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Site) deployStack(ctx context.Context) error {
	if err := errors.Join(s.startDatabases(ctx), s.certify(), s.receiveMail()); err != nil {
		return err
	}
	s.reach()
	if err := s.Rig.each(func(n *Node) error { return s.prepare(ctx, n) }); err != nil {
		return err
	}
	s.environ(len(s.Rig.Nodes))
	// No host is lost here, and one that starts a stack on a third of a machine may
	// have no time for a heartbeat.
	if _, err := s.Rig.Nodes[0].Docker(ctx, "swarm", "update", "--dispatcher-heartbeat", "5s"); err != nil {
		return err
	}
	if err := errors.Join(s.label(ctx), s.writeStack()); err != nil {
		return err
	}
	if err := s.Stack(ctx, "1"); err != nil {
		return err
	}
	for _, name := range control { // by the name that stands for all
		s.env = append(s.env, "MICRO_"+strings.ToUpper(name)+"_ADDRESS="+name+":"+ports[name])
	}
	s.network, s.edgeImage = stackName+"_platform", "micro:1"
	return s.Rig.each(func(n *Node) error { return s.startEdges(ctx, n) })
}

// Upgrade has the stack, and then the edges of one host after the other, run
// another version.
func (s *Site) Upgrade(ctx context.Context, tag string) error {
	if err := s.Stack(ctx, tag); err != nil {
		return err
	}
	s.edgeImage = "micro:" + tag
	for _, n := range s.Rig.Nodes {
		if err := s.stopEdges(ctx, n); err != nil {
			return err
		}
		for _, name := range edges {
			if _, err := n.Docker(ctx, "rm", edgeName(name)); err != nil {
				return err
			}
		}
		if err := s.startEdges(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// prepare gives a host its images, and the directory that builds are in, which on
// other hosts is another.
func (s *Site) prepare(ctx context.Context, n *Node) error {
	builds := filepath.Join(n.Dir, "builds")
	if err := os.MkdirAll(builds, 0o755); err != nil {
		return err
	}
	const script = `mkdir -p /var/lib/micro/builds && mount --bind "$1" /var/lib/micro/builds`
	if out, err := n.Command(ctx, "sh", "-c", script, "sh", builds).CombinedOutput(); err != nil {
		return fmt.Errorf("a directory for builds on %s: %w: %s", n.Name, err, out)
	}
	err := errors.Join(s.loadStackImages(ctx, n, "1"), s.loadStackImages(ctx, n, "2"))
	if n == s.Rig.Nodes[0] {
		err = errors.Join(err, n.copyImage(ctx, "micro/builder-go:latest"))
	}
	return err
}

// label says which host has what: two have components, the first of them builds.
func (s *Site) label(ctx context.Context) error {
	for i, n := range s.Rig.Nodes {
		args := []string{"node", "update"}
		if i < 2 {
			args = append(args, "--label-add", "micro.control=true")
		}
		if i == 0 {
			args = append(args, "--label-add", "micro.builder=true")
		}
		if _, err := s.Rig.Nodes[0].Docker(ctx, append(args, n.Name)...); err != nil {
			return err
		}
	}
	return nil
}

// loadStackImages makes the images of a version, the program being where the
// Dockerfile has it; each image has its own ID.
func (s *Site) loadStackImages(ctx context.Context, n *Node, tag string) error {
	for name, program := range map[string]string{"micro": "/micro", "micro-host": "/usr/local/bin/micro"} {
		files, err := rootless(s.micro, program)
		if err != nil {
			return err
		}
		image := name + ":" + tag
		if _, err := n.DockerIn(ctx, bytes.NewReader(files), "import", "--change", `ENTRYPOINT ["`+program+`"]`, "--change", "LABEL version="+image, "-", image); err != nil {
			return err
		}
	}
	return nil
}

func (s *Site) stackDir() string { return filepath.Join(s.Rig.Dir, "stack") }

// writeStack writes what an operator writes beside stack.yaml.
func (s *Site) writeStack() error {
	dir := s.stackDir()
	bucket := filepath.Join(s.Rig.Dir, "bucket")
	if err := errors.Join(os.CopyFS(dir, os.DirFS("../../deploy/swarm")), os.MkdirAll(filepath.Join(dir, "secrets"), 0o700),
		os.CopyFS(filepath.Join(dir, "certs"), os.DirFS(s.certsDir())), os.Mkdir(bucket, 0o777), os.Chmod(bucket, 0o777)); err != nil {
		return err
	}
	shipped, err := os.ReadFile(filepath.Join(dir, "micro.env"))
	if err != nil {
		return err
	}
	files := map[string]string{
		"secrets/postgres_url": s.databases[0].URL, "secrets/redis_url": s.databases[1].URL, "secrets/durable_redis_url": s.databases[2].URL,
		"secrets/admin_password": adminPassword, "secrets/smtp_password": "none", "secrets/s3_credentials": "# none",
		"micro.env": string(shipped) + strings.Join([]string{"MICRO_NAMESPACES_PLAN=local",
			"MICRO_SMTP_ADDRESS=" + s.Rig.Address + ":465", "MICRO_AUTH_PUBLIC_PLATFORM=true", "MICRO_AUTH_USER_TOKEN=" + tokenLife, "SSL_CERT_FILE=/ca.pem",
			"MICRO_BUILDER_MODULE_PROXY=file://" + moduleCache(), "MICRO_BUILDER_GVISOR=auto", "MICRO_SCHEDULER_GVISOR=auto", "MICRO_SCHEDULER_FIREWALL=auto",
			"MICRO_GATEWAY_CONNECTIONS=0", "MICRO_PROXY_CONNECTIONS=0", ""}, "\n"),
	}
	var added strings.Builder
	for _, name := range []string{"builder", "events", "images", "namespaces", "runtime", "store"} {
		fmt.Fprintf(&added, "  %s:\n    volumes:\n      - %s:%s\n", name, bucket, bucket)
		if name == "builder" {
			fmt.Fprintf(&added, "      - %s:%s:ro\n", moduleCache(), moduleCache())
		}
	}
	files["surroundings.yaml"] = fmt.Sprintf(surroundings, &added)
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return s.writeSecrets(pgtest.Secret, "")
}

// writeSecrets sets the cluster secret, and the second one, of what starts next.
func (s *Site) writeSecrets(secret, also string) error {
	s.version++
	s.env = slices.DeleteFunc(s.env, func(e string) bool { return strings.HasPrefix(e, "MICRO_CLUSTER_") })
	s.env = append(s.env, "MICRO_CLUSTER_ID="+cluster(), "MICRO_CLUSTER_SECRET="+secret, "MICRO_CLUSTER_SECRET_ALSO="+also)
	dir := filepath.Join(s.stackDir(), "secrets")
	return errors.Join(os.WriteFile(filepath.Join(dir, "cluster_secret"), []byte(secret), 0o600),
		os.WriteFile(filepath.Join(dir, "cluster_secret_also"), []byte(also+"\n"), 0o600)) // Swarm takes no empty secret
}

// Exchange gives the platform another cluster secret, by the steps that
// deploy/README.md has.
func (s *Site) Exchange(ctx context.Context, tag, secret string) error {
	for _, step := range [][2]string{{pgtest.Secret, secret}, {secret, pgtest.Secret}} {
		if err := errors.Join(s.writeSecrets(step[0], step[1]), s.Upgrade(ctx, tag)); err != nil {
			return err
		}
	}
	if err := s.reseal(ctx); err != nil {
		return err
	}
	return errors.Join(s.writeSecrets(secret, ""), s.Upgrade(ctx, tag))
}

// reseal seals anew what the old cluster secret has sealed.
func (s *Site) reseal(ctx context.Context) error {
	args := append([]string{"run", "--rm", "--network", s.network}, s.edgeEnv()...)
	out, err := s.Rig.Nodes[0].Docker(ctx, append(args, s.edgeImage, "reseal", "-o", "json")...)
	if err != nil {
		return err
	}
	var done struct{ Left, Lost int }
	if err := json.Unmarshal([]byte(out), &done); err != nil || done.Left+done.Lost > 0 {
		return fmt.Errorf("micro reseal says %s (%w)", out, err)
	}
	return nil
}

// stackTimeout bounds a change of the whole stack: two instances of each service,
// one after the other, six services at a time.
const stackTimeout = 15 * time.Minute

// backTimeout bounds the way back of a component.
const backTimeout = 6 * time.Minute

// Stack has deploy.sh bring the stack to a version.
func (s *Site) Stack(ctx context.Context, tag string) error {
	first := s.Rig.Nodes[0]
	control := func(port string) string {
		return first.Address + ":" + port + "," + s.Rig.Nodes[1].Address + ":" + port
	}
	env := strings.Join([]string{"IMAGE=micro", "TAG=" + tag, "RESOLVE_IMAGE=never", "VERSION=" + strconv.Itoa(s.version), "CLUSTER=" + cluster(),
		"AUTH=" + control(ports["auth"]), "IMAGES=" + control(ports["images"]),
		"BUCKET_URL='file://" + filepath.Join(s.Rig.Dir, "bucket") + "?no_tmp_dir=true&metadata=skip'", ""}, "\n")
	if err := os.WriteFile(filepath.Join(s.stackDir(), "stack.env"), []byte(env), 0o644); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, stackTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "./deploy.sh", "surroundings.yaml")
	cmd.Dir, cmd.Env = s.stackDir(), append(os.Environ(), "DOCKER_HOST="+first.socket())
	cmd.WaitDelay = 5 * time.Second // for a docker that it leaves
	out, err := cmd.CombinedOutput()
	if err == nil {
		err = s.stackRuns(ctx, tag)
	}
	if err != nil {
		tasks, _ := first.Docker(ctx, "stack", "ps", "--no-trunc", "--format", "{{.Name}} on {{.Node}}: {{.CurrentState}} {{.Error}}", stackName)
		return fmt.Errorf("deploy.sh: %w: %s\n%s", err, out, tasks)
	}
	return nil
}

// stackRuns says what of the stack does not run in a version.
func (s *Site) stackRuns(ctx context.Context, tag string) error {
	first := s.Rig.Nodes[0]
	out, err := first.Docker(ctx, "stack", "services", "--format", "{{.Name}} {{.Replicas}} {{.Image}}", stackName)
	if err != nil {
		return err
	}
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		have, want, _ := strings.Cut(fields[1], "/")
		if (have != want && !strings.HasSuffix(fields[0], "_migrate")) || !strings.HasSuffix(fields[len(fields)-1], ":"+tag) {
			return fmt.Errorf("docker stack services: %s", strings.TrimSpace(line))
		}
	}
	out, err = s.updates(ctx)
	for line := range strings.Lines(out) {
		if _, state, is := strings.Cut(strings.TrimSpace(line), " "); is && !strings.HasPrefix(state, "completed") {
			return fmt.Errorf("docker service inspect: %s", strings.TrimSpace(line))
		}
	}
	return err
}

// goesBack does something to a component, by docker service, after which Swarm goes
// back to what it was before, and waits for that.
func (s *Site) goesBack(ctx context.Context, component string, what ...string) error {
	first, name := s.Rig.Nodes[0], stackName+"_"+component
	if _, err := first.Docker(ctx, slices.Concat([]string{"service"}, what, []string{"--detach", name})...); err != nil {
		return err
	}
	return poll(ctx, backTimeout, func() error {
		state, err := first.Docker(ctx, "service", "inspect", "--format", "{{.UpdateStatus.State}} {{.UpdateStatus.Message}}", name)
		if err == nil && !strings.HasPrefix(state, "rollback_completed ") {
			err = fmt.Errorf("docker service inspect %s: %s", name, strings.TrimSpace(state))
		}
		return err
	})
}

// updates answers a line for every service of the swarm: how far Swarm has come
// with its last change.
func (s *Site) updates(ctx context.Context) (string, error) {
	first := s.Rig.Nodes[0]
	out, err := first.Docker(ctx, "service", "ls", "-q")
	if err != nil {
		return "", err
	}
	return first.Docker(ctx, append([]string{"service", "inspect", "--format", "{{.Spec.Name}}{{with .UpdateStatus}} {{.State}} {{.Message}}{{end}}"}, strings.Fields(out)...)...)
}
