package swarm

import (
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/swarm"

	"github.com/micro/platform/scheduler/plan"
)

// grace is how long a container has between SIGTERM and SIGKILL.
const grace = 10 * time.Second

// A container that ends is started again, attempts times within window; after
// that Swarm leaves it, and the deployment has failed.
const (
	attempts     = 3
	restartDelay = time.Second
	window       = time.Minute
)

// user is who programs run as: nobody, by the number that the builder's images
// have too.
const user = "65532:65532"

// files is how many files and connections a container may have open.
const files = 4096

// logSize bounds what Docker keeps of a container's log: two files of it.
const logSize = "5m"

// spec is a plan in Swarm's terms.
func spec(s plan.Service) swarm.ServiceSpec {
	labels := maps.Clone(s.Labels)
	labels[plan.LabelHash] = s.Hash
	replicas := uint64(s.Instances)
	return swarm.ServiceSpec{
		Annotations:  swarm.Annotations{Name: s.Name, Labels: labels},
		Mode:         swarm.ServiceMode{Replicated: &swarm.ReplicatedService{Replicas: &replicas}},
		TaskTemplate: task(s),
		EndpointSpec: &swarm.EndpointSpec{Mode: swarm.ResolutionModeDNSRR},
		UpdateConfig: &swarm.UpdateConfig{
			Parallelism: 1, Order: swarm.UpdateOrderStartFirst, FailureAction: swarm.UpdateFailureActionPause,
		},
	}
}

func task(s plan.Service) swarm.TaskSpec {
	delay, window, max := restartDelay, window, uint64(attempts)
	return swarm.TaskSpec{
		ContainerSpec: containerSpec(s),
		Resources: &swarm.ResourceRequirements{
			Limits: &swarm.Limit{
				NanoCPUs: int64(s.Limits.CPUs * 1e9), MemoryBytes: s.Limits.Memory, Pids: s.Limits.Pids,
			},
			Reservations: &swarm.Resources{MemoryBytes: s.Limits.Reserve},
		},
		RestartPolicy: &swarm.RestartPolicy{
			Condition: swarm.RestartPolicyConditionAny, Delay: &delay, MaxAttempts: &max, Window: &window,
		},
		Placement: placement(s.Hosts),
		Networks:  []swarm.NetworkAttachmentConfig{{Target: s.Network}},
		LogDriver: &swarm.Driver{
			Name: "json-file", Options: map[string]string{"max-size": logSize, "max-file": "2"},
		},
	}
}

// placement asks for hosts with labels, nil for any.
func placement(labels map[string]string) *swarm.Placement {
	if len(labels) == 0 {
		return nil
	}
	p := &swarm.Placement{}
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		p.Constraints = append(p.Constraints, "node.labels."+plan.LabelHost+k+"=="+labels[k])
	}
	return p
}

func containerSpec(s plan.Service) *swarm.ContainerSpec {
	stop := grace
	var dns *swarm.DNSConfig
	if len(s.Resolvers) > 0 {
		dns = &swarm.DNSConfig{}
		for _, r := range s.Resolvers {
			dns.Nameservers = append(dns.Nameservers, r.String())
		}
	}
	mounts := []mount.Mount{tmpfs("/tmp", s.Limits.Tmp), tmpfs(plan.Home, s.Limits.Tmp)}
	if s.ResolvConf != "" {
		mounts = append(mounts, mount.Mount{Type: mount.TypeBind, Source: s.ResolvConf, Target: "/etc/resolv.conf", ReadOnly: true})
	}
	return &swarm.ContainerSpec{
		Image: s.Image, Labels: s.Labels, Command: s.Command, Args: s.Args, Env: literal(s.Env),
		User: user, ReadOnly: true, CapabilityDrop: []string{"ALL"},
		// Engines before 23 leave it out; with no capability in the bounding set
		// and no set-uid program in the image there is nothing to gain.
		Privileges:      &swarm.Privileges{NoNewPrivileges: true},
		Mounts:          mounts,
		Ulimits:         []*container.Ulimit{{Name: "nofile", Soft: files, Hard: files}},
		DNSConfig:       dns,
		StopGracePeriod: &stop,
	}
}

// literal keeps Swarm from executing templates in what tenants wrote: these
// tell about the host, and can make Docker write gigabytes.
func literal(env []string) []string {
	out := make([]string, len(env))
	for i, e := range env {
		out[i] = strings.ReplaceAll(e, "{{", `{{"{{"}}`)
	}
	return out
}

// tmpfs is a directory in memory that everybody may write to and no program can
// be started from.
func tmpfs(path string, size int64) mount.Mount {
	return mount.Mount{Type: mount.TypeTmpfs, Target: path, TmpfsOptions: &mount.TmpfsOptions{SizeBytes: size, Mode: os.ModeSticky | 0o777}}
}
