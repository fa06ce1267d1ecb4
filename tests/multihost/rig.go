package multihost

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// hosts is how many a rig has: of three managers one may be lost.
const hosts = 3

// rigDirs is where rigs are, each in a directory with its number.
var rigDirs = filepath.Join(os.TempDir(), "micro-rig-")

// Rig is a network with several hosts.
type Rig struct {
	// Dir is seen by every host at the same path.
	Dir string
	// Address is of this machine on the rig's network.
	Address string
	Nodes   []*Node

	runsc  string   // gVisor's program, which those hosts have that say so
	number int      // of the run, part of every name and address
	lock   *os.File // held as long as the rig is in use
}

// missing answers why this machine cannot have a rig, and nothing if it can.
func missing() string {
	if os.Geteuid() != 0 {
		return "only root may make hosts"
	}
	for _, program := range []string{"ip", "nsenter", "unshare", "dockerd", "docker", "docker-init", "iptables"} {
		if _, err := exec.LookPath(program); err != nil {
			return program + " is missing"
		}
	}
	try := "ip link add name micro-try type vxlan id 1 dstport 0 && mount -t tmpfs tmpfs /mnt"
	if out, err := exec.Command("unshare", "--net", "--mount", "--pid", "--fork", "--propagation", "private", "sh", "-c", try).CombinedOutput(); err != nil {
		return "the kernel refuses namespaces or VXLAN: " + strings.TrimSpace(string(out))
	}
	return ""
}

// NewRig makes the hosts, each with its Docker, and joins them to a Swarm. The
// last of them run containers in gVisor, as many as that, by the program runsc.
func NewRig(ctx context.Context, contained int, runsc string) (*Rig, error) {
	sweep()
	r, err := claim()
	if err != nil {
		return nil, err
	}
	r.runsc = runsc
	for _, n := range r.Nodes[hosts-contained:] {
		n.GVisor = true
	}
	for _, step := range []func(context.Context) error{r.wire, r.boot, r.swarm} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	return r, nil
}

// claim takes a number that no other run has, and with it names and a network.
func claim() (*Rig, error) {
	for n := range 100 {
		r, err := open(n, os.Mkdir(rigDirs+strconv.Itoa(n), 0o755))
		if err == nil {
			return r, nil
		}
		if !errors.Is(err, fs.ErrExist) && !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, err
		}
	}
	return nil, errors.New("there are a hundred rigs already: " + rigDirs + "*")
}

// open locks the directory of a rig.
func open(n int, err error) (*Rig, error) {
	if err != nil {
		return nil, err
	}
	r := &Rig{Dir: rigDirs + strconv.Itoa(n), Address: fmt.Sprintf("192.168.%d.254", 100+n), number: n}
	if r.lock, err = os.OpenFile(filepath.Join(r.Dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(r.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(err, r.lock.Close())
	}
	for i := range hosts {
		r.Nodes = append(r.Nodes, newNode(r, i+1))
	}
	return r, nil
}

// sweep removes what runs that were killed have left.
func sweep() {
	found, _ := filepath.Glob(rigDirs + "*")
	for _, dir := range found {
		n, err := strconv.Atoi(strings.TrimPrefix(dir, rigDirs))
		if err != nil {
			continue
		}
		if r, err := open(n, nil); err == nil { // its owner is gone, or the lock would be held
			r.Close() //nolint:errcheck // what cannot be removed is in nobody's way: the number stays taken
		}
	}
}

func (r *Rig) name(of string) string { return fmt.Sprintf("micro-rig%d-%s", r.number, of) }

// wire makes the switch, with a cable to every host and one to this machine.
func (r *Rig) wire(ctx context.Context) error {
	sw, uplink := r.name("switch"), r.name("up")
	steps := []string{
		"ip netns add " + sw,
		"ip -n " + sw + " link add br0 type bridge",
		"ip -n " + sw + " link set br0 up",
		"ip link add " + uplink + " type veth peer name uplink netns " + sw,
		"ip -n " + sw + " link set uplink master br0 up",
		"ip addr add " + r.Address + "/24 dev " + uplink,
		"ip link set " + uplink + " up",
	}
	for _, n := range r.Nodes {
		steps = append(steps,
			"ip netns add "+n.namespace(),
			"ip link add "+n.Name+" netns "+sw+" type veth peer name eth0 netns "+n.namespace(),
			"ip -n "+sw+" link set "+n.Name+" master br0 up",
			"ip -n "+n.namespace()+" addr add "+n.Address+"/24 dev eth0",
			"ip -n "+n.namespace()+" link set lo up",
			"ip -n "+n.namespace()+" link set eth0 up")
	}
	for _, step := range steps {
		if err := run(ctx, strings.Fields(step)...); err != nil {
			return err
		}
	}
	return nil
}

// boot starts the hosts and their Docker.
func (r *Rig) boot(ctx context.Context) error {
	return r.each(func(n *Node) error {
		if err := n.boot(ctx); err != nil {
			return err
		}
		return n.StartDocker(ctx)
	})
}

// each does something on all hosts at once.
func (r *Rig) each(do func(*Node) error) error {
	errs := make(chan error, len(r.Nodes))
	for _, n := range r.Nodes {
		go func() { errs <- do(n) }()
	}
	var all []error
	for range r.Nodes {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

// swarm joins the hosts, as managers all.
func (r *Rig) swarm(ctx context.Context) error {
	first := r.Nodes[0]
	_, err := first.Docker(ctx, "swarm", "init", "--advertise-addr", first.Address, "--default-addr-pool", "10.80.0.0/16", "--dispatcher-heartbeat", "1s")
	if err != nil {
		return err
	}
	token, err := first.Docker(ctx, "swarm", "join-token", "-q", "manager")
	if err != nil {
		return err
	}
	for _, n := range r.Nodes[1:] {
		if _, err := n.Docker(ctx, "swarm", "join", "--advertise-addr", n.Address, "--token", strings.TrimSpace(token), first.Address+":2377"); err != nil {
			return err
		}
	}
	return nil
}

// managed is the Swarm as its managers see it, by the names of hosts.
type managed struct {
	leader string
	state  map[string]string
	whole  bool // all are there, and manage
}

// managed asks a host other than but.
func (r *Rig) managed(ctx context.Context, but *Node) (managed, error) {
	i := slices.IndexFunc(r.Nodes, func(n *Node) bool { return n != but })
	out, err := r.Nodes[i].Docker(ctx, "node", "ls", "--format", "{{.Hostname}} {{.Status}} {{.ManagerStatus}}")
	if err != nil {
		return managed{}, err
	}
	m := managed{state: map[string]string{}, whole: strings.Count(out, "Ready") == hosts && !strings.Contains(out, "Unreachable")}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 1 {
			m.state[f[0]] = f[1]
			if f[len(f)-1] == "Leader" {
				m.leader = f[0]
			}
		}
	}
	return m, nil
}

// ready answers what the Swarm lacks.
func (r *Rig) ready(ctx context.Context) error {
	m, err := r.managed(ctx, nil)
	if err == nil && !m.whole {
		err = fmt.Errorf("the Swarm is not whole: %v", m)
	}
	return err
}

// Leader answers the host whose Docker leads the Swarm.
func (r *Rig) Leader(ctx context.Context) (*Node, error) {
	m, err := r.managed(ctx, nil)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(r.Nodes, func(n *Node) bool { return n.Name == m.leader })
	if i < 0 {
		return nil, fmt.Errorf("the Swarm has no leader: %v", m)
	}
	return r.Nodes[i], nil
}

// Close removes everything: processes, namespaces, cgroups, files.
func (r *Rig) Close() error {
	errs := []error{}
	for _, n := range r.Nodes {
		errs = append(errs, n.off())
	}
	for _, name := range append([]string{r.name("switch")}, r.namespaces()...) {
		if _, err := os.Stat("/run/netns/" + name); err == nil {
			errs = append(errs, run(context.Background(), "ip", "netns", "del", name))
		}
	}
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		found, _ := filepath.Glob(pattern + r.name("node") + "*")
		for _, dir := range found {
			errs = append(errs, removeCgroup(dir))
		}
	}
	errs = append(errs, os.RemoveAll(r.Dir))
	return errors.Join(append(errs, r.lock.Close())...)
}

func (r *Rig) namespaces() []string {
	var all []string
	for _, n := range r.Nodes {
		all = append(all, n.namespace())
	}
	return all
}

// removeCgroup removes a cgroup and those in it, as soon as the last process has
// left.
func removeCgroup(dir string) error {
	var all []string
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error { //nolint:errcheck // what is gone is gone
		if err == nil && d.IsDir() {
			all = append(all, path)
		}
		return nil
	})
	for _, path := range slices.Backward(all) {
		for end := time.Now().Add(5 * time.Second); ; <-time.After(20 * time.Millisecond) {
			err := syscall.Rmdir(path)
			if err == nil || errors.Is(err, fs.ErrNotExist) {
				break
			}
			if time.Now().After(end) {
				return fmt.Errorf("remove cgroup %s: %w", path, err)
			}
		}
	}
	return nil
}

// run runs a command that says nothing unless it fails.
func run(ctx context.Context, args ...string) error {
	if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
