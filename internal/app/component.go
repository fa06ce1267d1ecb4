package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/micro/platform/internal/seal"
	"github.com/micro/platform/internal/settings"
)

// Component is a part of the platform that can run alone or beside the others.
type Component struct {
	Name string

	load func(environ map[string]string) (options any, err error)
	run  func(ctx context.Context, h *Host, options any) error
}

// New makes a Component. start connects and registers what it needs on the
// Host and comes back; what goes on after that, it gives to Host.Go.
func New[O any](name string, start func(ctx context.Context, h *Host, o O) error) Component {
	return Component{
		Name: name,
		load: func(environ map[string]string) (any, error) {
			var o O
			err := settings.Load(name, &o, environ)
			return o, err
		},
		run: func(ctx context.Context, h *Host, options any) error { return start(ctx, h, options.(O)) },
	}
}

// Platform is the settings that are not one component's own.
type Platform struct {
	PostgresURL     settings.Secret `env:"POSTGRES_URL"   help:"Postgres, as an administrator: postgres://user:password@host/database. micro server brings its own when it is empty"`
	RedisURL        settings.Secret `env:"REDIS_URL"      help:"Redis for what may be lost: limits, caches, pushed changes. micro server brings its own when it is empty"`
	DurableRedisURL settings.Secret `env:"DURABLE_REDIS_URL" help:"Redis for what must be kept, records and events: append-only file, appendfsync always; with several ?addr=host:port it is a Redis Cluster, with ?master_name=name the hosts are Sentinels. micro server brings its own when it is empty"`
	BucketURL       string          `env:"BUCKET_URL"     help:"where blobs are kept: file:///dir or s3://bucket. micro server uses its data directory when it is empty"`
	StateDir        string          `env:"STATE_DIR"      help:"directory on a disk of this host for what a process must keep over a crash: calls that are counted and not yet shipped. Its processes each have a part of it. micro server uses its data directory when it is empty"`
	ClusterSecret   settings.Secret `env:"CLUSTER_SECRET" help:"what the components prove themselves with, the same for all, at least 32 characters. micro server makes one up in its data directory when it is empty"`
	ClusterAlso     settings.Secret `env:"CLUSTER_SECRET_ALSO" help:"another cluster secret, which is accepted from others and opens what was sealed with it, while one is exchanged for the other: see deploy/README.md"`
	Cluster         string          `env:"CLUSTER_ID" help:"what the platform's things in Docker bear as micro.cluster, 8 hexadecimal digits. Empty is what follows from the cluster secret; it has to be set before that is exchanged, and stay. micro server keeps it in its data directory"`
	AdminPassword   settings.Secret `env:"ADMIN_PASSWORD" help:"password of account admin of namespace micro, used when that account is first made"`
	SMTPAddress     string          `env:"SMTP_ADDRESS"   default:"127.0.0.1:8025" help:"mail server, host:port; TLS unless it is on loopback, from the start on port 465"`
	SMTPUser        string          `env:"SMTP_USER"      help:"user at the mail server; none logs in to nothing"`
	SMTPPassword    settings.Secret `env:"SMTP_PASSWORD"  help:"password at the mail server"`
	MailFrom        string          `env:"MAIL_FROM"      default:"Micro <micro@localhost>" help:"who mail is from"`
	TLSDir          string          `env:"TLS_DIR"        help:"directory of ca.pem, COMPONENT.pem and COMPONENT.key, as micro certs makes them: components in other processes are spoken to with mutual TLS. Without certificates they may be on loopback only"`
	TLSCert         string          `env:"TLS_CERT"       help:"file of the component's certificate, instead of the one in MICRO_TLS_DIR"`
	TLSKey          string          `env:"TLS_KEY"        help:"file of its key"`
	TLSCA           string          `env:"TLS_CA"         help:"file of the authorities that are trusted"`
	DrainNotice     time.Duration   `env:"DRAIN_NOTICE"   default:"250ms" zero:"ok" help:"how long a process of micro service that is told to stop still takes calls while it says that it is not ready, so that load balancers and other components leave it"`
	OpsAddress      string          `env:"OPS_ADDRESS"    help:"where operators find /healthz, /readyz and /metrics of this process, for example 127.0.0.1:9090; beyond loopback with a certificate of micro certs. Nowhere when it is empty"`
	OTLPEndpoint    string          `env:"OTLP_ENDPOINT"  help:"where traces go, by OTLP over gRPC: https://host:port, or http on loopback. Nowhere when it is empty"`
	OTLPSample      float64         `env:"OTLP_SAMPLE"    default:"0.1" help:"the share of traces that are kept, 0 to 1"`
	LogLevel        string          `env:"LOG_LEVEL"      default:"info" help:"debug, info, warn or error"`
	LogFormat       string          `env:"LOG_FORMAT"     default:"text" help:"text or json"`
}

// Secrets answers the cluster secrets that are in use.
func (p Platform) Secrets() seal.Cluster {
	return seal.Cluster{Secret: p.ClusterSecret, Also: p.ClusterAlso}
}

// minSecret is how long a cluster secret is at least.
const minSecret = 32

// idRule is an id of a cluster.
var idRule = regexp.MustCompile(`^[0-9a-f]{8}$`)

// CheckSecrets refuses what would break the platform sooner or later.
func (p Platform) CheckSecrets() error {
	switch also := p.ClusterAlso; {
	case len(p.ClusterSecret) < minSecret:
		return fmt.Errorf("MICRO_CLUSTER_SECRET must have at least %d characters, the same in every process", minSecret)
	case p.Cluster != "" && !idRule.MatchString(p.Cluster):
		return fmt.Errorf("MICRO_CLUSTER_ID is %q: it must be 8 digits of 0-9 and a-f", p.Cluster)
	case also == "":
		return nil
	case len(also) < minSecret:
		return fmt.Errorf("MICRO_CLUSTER_SECRET_ALSO must have at least %d characters, or be empty", minSecret)
	case also == p.ClusterSecret:
		return errors.New("MICRO_CLUSTER_SECRET_ALSO is the same as MICRO_CLUSTER_SECRET: it must be the other one, or empty")
	case p.Cluster == "":
		return fmt.Errorf("MICRO_CLUSTER_ID must be set while the cluster secret is exchanged, and stay as it is: of MICRO_CLUSTER_SECRET follows %s, of MICRO_CLUSTER_SECRET_ALSO %s; it is that of the old one",
			p.ClusterID(), Platform{ClusterSecret: also}.ClusterID())
	}
	return nil
}

// ClusterID tells this platform's things from another's on the same Docker
// host or in the same Redis: it is the same in every process of a cluster, and
// says nothing about the secret.
func (p Platform) ClusterID() string {
	if p.Cluster != "" {
		return p.Cluster
	}
	sum := sha256.Sum256([]byte("micro cluster id " + p.ClusterSecret.Reveal()))
	return hex.EncodeToString(sum[:4])
}

// Settings lists every setting of the platform and of the components, with the
// values that environ gives them, and the names of all that are known.
func Settings(environ map[string]string, components []Component) ([]settings.Setting, error) {
	var p Platform
	if err := settings.Load("", &p, environ); err != nil {
		return nil, err
	}
	all := settings.Describe("", p)
	for _, c := range components {
		o, err := c.load(environ)
		if err != nil {
			return nil, err
		}
		if ports[c.Name] != "" {
			all = append(all, addressSettings(c.Name, environ)...)
		}
		all = append(all, settings.Describe(c.Name, o)...)
	}
	return all, nil
}
