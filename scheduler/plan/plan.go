package plan

import (
	"cmp"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// ID names a deployment: one revision of a version of a service.
type ID struct {
	Namespace string
	Service   string
	Version   string
	Revision  int64
}

func (id ID) String() string {
	return fmt.Sprintf("%s/%s@%s#%d", id.Namespace, id.Service, id.Version, id.Revision)
}

// Compare orders IDs, for lists that are always the same.
func (id ID) Compare(other ID) int {
	return cmp.Or(strings.Compare(id.Namespace, other.Namespace), strings.Compare(id.Service, other.Service),
		strings.Compare(id.Version, other.Version), cmp.Compare(id.Revision, other.Revision))
}

// Deployment is what shall run.
type Deployment struct {
	ID        ID
	Image     string   // by content: "sha256:..." of a host, "namespace/service@sha256:..." of the platform's
	Env       []string // KEY=value
	Command   []string // in place of the image's entrypoint
	Args      []string
	Instances int
	Hosts     map[string]string // what labels of a host must be
}

// Limits bound each container.
type Limits struct {
	Memory  int64 // bytes, files in temporary directories included
	Reserve int64 // bytes of memory that a host must have left
	CPUs    float64
	Pids    int64
	Tmp     int64 // bytes of each temporary directory
}

// Config is what a plan depends on beside the deployment.
type Config struct {
	Cluster string // whose it is, where several platforms share a Docker host
	Images  string // host:port at which every Docker finds the platform's images
	Edge    string // host:port at which containers reach the edge
	Egress  string // host:port of the HTTP proxy by which they reach the internet; empty is none
	// Resolvers are the name servers of containers; none are the host's.
	Resolvers []netip.Addr
	// ResolvConf is a file of the host's that is the container's
	// /etc/resolv.conf; empty is Docker's own.
	ResolvConf string
	Limits     Limits
}

// reference is what Docker calls an image: an ID by itself, and the platform's
// by where it finds them.
func reference(image, images string) string {
	if imageID.MatchString(image) {
		return image
	}
	return images + "/" + image
}

// Port is where a service is asked to listen.
const Port = 8080

// Home is the home directory of services, as the builder's images have it.
// Micro services of every version write there when they start.
const Home = "/home/micro"

// The labels of everything that the scheduler makes in Docker.
const (
	LabelCluster   = "micro.cluster"
	LabelPart      = "micro.part"
	LabelNamespace = "micro.namespace"
	LabelService   = "micro.service"
	LabelVersion   = "micro.version"
	LabelRevision  = "micro.revision"
	LabelHash      = "micro.hash" // of the plan: the same hash means that there is nothing to do
)

// LabelHost begins the labels of hosts that deployments may ask for. The operator
// gives them to nodes of the swarm; their others are nobody else's business.
const LabelHost = "micro."

// HostGVisor is the label of hosts, as LabelHost begins it, that run services in
// gVisor, and InGVisor its value. The scheduler gives it to them.
const (
	HostGVisor  = "gvisor"
	LabelGVisor = LabelHost + HostGVisor
	InGVisor    = "true"
)

// The values of LabelPart: what the scheduler makes, and the containers of edges,
// which the operator makes.
const (
	Part     = "scheduler"
	PartEdge = "edge"
)

// EdgeName is what the proxy is called on networks that go over several hosts.
const EdgeName = "micro-edge"

// Service is what Docker is asked for.
type Service struct {
	ID        ID
	Name      string // a DNS label, at most 63 characters
	Network   string // the namespace's, likewise
	Image     string
	Env       []string
	Command   []string
	Args      []string
	Instances int
	Limits    Limits
	Labels    map[string]string
	Resolvers []netip.Addr `json:",omitempty"` // those of before had none: their hash stays
	// ResolvConf is a file of the host's in place of Docker's own.
	ResolvConf string `json:",omitempty"`
	// Hosts are the labels that a host must have, as LabelHost begins them.
	Hosts map[string]string `json:",omitempty"`
	Hash  string
}

// New plans a deployment, or says what is wrong with it.
func New(d Deployment, c Config) (Service, error) {
	if err := validate(d); err != nil {
		return Service{}, err
	}
	s := Service{
		ID: d.ID, Name: Name(c.Cluster, d.ID), Network: Network(c.Cluster, d.ID.Namespace),
		Image: reference(d.Image, c.Images), Env: environment(d.Env, c), Command: d.Command, Args: d.Args,
		Instances: d.Instances, Limits: c.Limits, Labels: Labels(c.Cluster, d.ID), Resolvers: c.Resolvers, ResolvConf: c.ResolvConf,
		Hosts: d.Hosts,
	}
	s.Hash = hash(s)
	return s, nil
}

// Labels are the labels of a deployment's containers. LabelHash is not among
// them: it would make every container new.
func Labels(cluster string, id ID) map[string]string {
	return map[string]string{
		LabelCluster: cluster, LabelPart: Part, LabelNamespace: id.Namespace,
		LabelService: id.Service, LabelVersion: id.Version, LabelRevision: strconv.FormatInt(id.Revision, 10),
	}
}

// FromLabels is the way back. It is false for labels that Labels did not make.
func FromLabels(labels map[string]string) (ID, bool) {
	revision, err := strconv.ParseInt(labels[LabelRevision], 10, 64)
	id := ID{labels[LabelNamespace], labels[LabelService], labels[LabelVersion], revision}
	return id, err == nil && labels[LabelPart] == Part && id.Check() == nil
}

// environment adds what the platform gives to every container. It wins over
// the deployment's own: the platform relies on it.
func environment(own []string, c Config) []string {
	edge := c.Edge
	given := []string{
		fmt.Sprintf("PORT=%d", Port),
		fmt.Sprintf("MICRO_SERVICE_ADDRESS=:%d", Port), // Micro v3
		"MICRO_PROXY=" + edge,                          // Micro v3
		"MICRO_SERVICE_NETWORK=" + edge,                // Micro v4
		"HOME=" + Home, "USER=micro",
	}
	names := map[string]bool{}
	for _, e := range given {
		names[key(e)] = true
	}
	out := slices.DeleteFunc(slices.Clone(own), func(e string) bool { return names[key(e)] })
	return append(append(out, given...), outward(own, c)...)
}

// outward names the way out of a network that has no other, by the variables in
// which programs look for a proxy. It wants the account of the revision. What
// the deployment says itself stays.
func outward(own []string, c Config) []string {
	said := map[string]string{}
	for _, e := range own {
		k, v, _ := strings.Cut(e, "=")
		said[k] = v
	}
	if c.Egress == "" || said["MICRO_AUTH_ID"] == "" {
		return nil
	}
	proxy := url.URL{Scheme: "http", Host: c.Egress, User: url.UserPassword(said["MICRO_NAMESPACE"]+"/"+said["MICRO_AUTH_ID"], said["MICRO_AUTH_SECRET"])}
	edge, _, _ := net.SplitHostPort(c.Edge)
	var out []string
	for _, e := range []string{"HTTP_PROXY=" + proxy.String(), "HTTPS_PROXY=" + proxy.String(), "NO_PROXY=" + edge + ",localhost,127.0.0.1"} {
		k, v, _ := strings.Cut(e, "=")
		for _, name := range []string{k, strings.ToLower(k)} { // programs differ
			if _, ok := said[name]; !ok {
				out = append(out, name+"="+v)
			}
		}
	}
	return out
}

func key(env string) string {
	k, _, _ := strings.Cut(env, "=")
	return k
}

// Name is the name of a deployment's Swarm service: readable, and unique by the
// hash at its end, however its parts are written.
func Name(cluster string, id ID) string {
	return name(cluster, id.String(), id.Namespace, id.Service, strconv.FormatInt(id.Revision, 10))
}

// Network is the name of a namespace's network.
func Network(cluster, namespace string) string {
	return name(cluster, "network of "+namespace, namespace)
}

// NetworkPrefix begins the names of a cluster's networks.
func NetworkPrefix(cluster string) string { return "micro-" + word(cluster) + "-" }

// Bridge is the name of the network's interface on a host, at most 15
// characters. Those of a cluster start alike, so that a firewall can tell them.
func Bridge(cluster, namespace string) string {
	return BridgePrefix(cluster) + compact("bridge", cluster, namespace)[:9]
}

// BridgePrefix is how the interfaces of a cluster's networks start.
func BridgePrefix(cluster string) string {
	return "mu" + compact("bridge", cluster)[:4]
}

// compact is a digest with five bits in each character.
func compact(parts ...string) string {
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum(parts...)))
}

const maxName = 63 // Swarm's limit, since names are DNS labels

func name(cluster, unique string, words ...string) string {
	for i, w := range words {
		words[i] = word(w)
	}
	head := NetworkPrefix(cluster) + strings.Join(words, "-")
	tail := digest(cluster, unique)[:12]
	if room := maxName - len(tail) - 1; len(head) > room {
		head = head[:room]
	}
	return strings.TrimRight(head, "-") + "-" + tail
}

// word makes a part of a DNS label of any text.
func word(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		if b.Len() == 20 {
			break
		}
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		} else {
			b.WriteByte('-')
		}
	}
	return strings.Trim(b.String(), "-")
}

// hash covers everything that Docker is told.
func hash(s Service) string {
	s.Hash = ""
	b, err := json.Marshal(s) // maps in the order of their keys
	if err != nil {
		panic(err) // strings and numbers always marshal
	}
	return digest(string(b))
}

// digest is a hash of texts, in hexadecimal.
func digest(parts ...string) string { return hex.EncodeToString(sum(parts...)) }

// sum is a hash of texts, each with its length so that they cannot run into
// each other.
func sum(parts ...string) []byte {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return h.Sum(nil)
}
