package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	// look is how often, at most, the files are looked at: at handshakes only.
	look = time.Second
	// soon is when a certificate that ends is worth a warning.
	soon = 14 * 24 * time.Hour
	// sayAgain bounds the lines about refused handshakes, which strangers cause.
	sayAgain = time.Second
)

// memory is the network of connections that never leave the process.
const memory = "bufconn"

// Files are where a component finds what it shows and whom it trusts.
type Files struct{ Certificate, Key, Authorities string }

// In answers the files of a component in a directory that "micro certs" made.
func In(dir, component string) Files {
	return Files{Certificate: filepath.Join(dir, component+certificate), Key: filepath.Join(dir, component+privateKey), Authorities: filepath.Join(dir, bundleFile)}
}

// Keeper holds a component's certificate, and reads it again when it changes.
type Keeper struct {
	component string
	files     Files
	log       *slog.Logger
	now       func() time.Time

	mu     sync.Mutex
	held   held
	looked time.Time
	seen   string    // the state of the files that were read last
	said   time.Time // when a refusal was last logged
}

// held is what was read together.
type held struct {
	pair        tls.Certificate
	authorities *x509.CertPool
}

// NewKeeper reads a component's files. It refuses a certificate that is another
// component's, or over.
func NewKeeper(component string, files Files, log *slog.Logger) (*Keeper, error) {
	k := &Keeper{component: component, files: files, log: log, now: time.Now}
	seen, err := k.state()
	if err != nil {
		return nil, err
	}
	if k.held, err = k.read(); err != nil {
		return nil, err
	}
	k.seen, k.looked = seen, k.now()
	if err := k.fresh(k.held.pair.Leaf); err != nil {
		return nil, err
	}
	if end := k.held.pair.Leaf.NotAfter; end.Before(k.now().Add(soon)) {
		log.Warn("the component's certificate ends soon: issue another", "file", files.Certificate, "expires", end)
	}
	return k, nil
}

// state tells whether files have changed.
func (k *Keeper) state() (string, error) {
	all := ""
	for _, path := range []string{k.files.Certificate, k.files.Key, k.files.Authorities} {
		info, err := os.Stat(path)
		if err != nil {
			return "", err
		}
		all += fmt.Sprintf("%d %d\n", info.ModTime().UnixNano(), info.Size())
	}
	return all, nil
}

func (k *Keeper) read() (held, error) {
	pair, err := readPair(k.files.Certificate, k.files.Key)
	if err != nil {
		return held{}, err
	}
	if is := componentOf(pair.Leaf); is != k.component {
		return held{}, fmt.Errorf("%s is a certificate of %q, not of component %s", k.files.Certificate, is, k.component)
	}
	authorities, err := readCertificates(k.files.Authorities)
	if err != nil {
		return held{}, err
	}
	h := held{pair: pair, authorities: x509.NewCertPool()}
	for _, c := range authorities {
		h.authorities.AddCert(c)
	}
	return h, nil
}

// fresh refuses a certificate that is over: its own side says so in clear, where
// the other could only hang up.
func (k *Keeper) fresh(c *x509.Certificate) error {
	if k.now().After(c.NotAfter) {
		return fmt.Errorf("the certificate %s ended on %s: issue another with \"micro certs issue %s\"", k.files.Certificate, c.NotAfter.UTC().Format(time.DateTime), k.component)
	}
	return nil
}

// current answers what is in the files, or was when they were last whole.
func (k *Keeper) current() held {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.now().Sub(k.looked) < look {
		return k.held
	}
	k.looked = k.now()
	seen, err := k.state()
	if err == nil && seen == k.seen {
		return k.held
	}
	var read held
	if err == nil {
		read, err = k.read()
	}
	if err != nil {
		k.log.Warn("certificates have changed and cannot be read, the old ones are used", "error", err)
		return k.held
	}
	k.held, k.seen = read, seen
	k.log.Info("certificates were read again", "file", k.files.Certificate, "expires", read.pair.Leaf.NotAfter)
	return k.held
}

// config is what both sides of a handshake have in common.
func (h held) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{h.pair}}
}

// server is the listening side.
func (h held) server() *tls.Config {
	cfg := h.config()
	cfg.ClientCAs, cfg.ClientAuth = h.authorities, tls.RequireAndVerifyClientCert
	// A session that is resumed would outlive the authorities it was made with.
	cfg.SessionTicketsDisabled = true
	return cfg
}

// Config is for a listener that is not gRPC's: who connects has to have a
// certificate of the authority, be it the Reader's.
func (k *Keeper) Config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return k.current().server(), nil }}
}

// To is for a client of a component that does not speak gRPC. It has the
// certificate of this moment.
func (k *Keeper) To(component string) *tls.Config {
	h := k.current()
	cfg := h.config()
	cfg.RootCAs, cfg.ServerName = h.authorities, ServerName(component)
	return cfg
}

// Own is for a client that asks a process of the component itself, whose
// certificate it shows.
func (k *Keeper) Own() *tls.Config { return k.To(k.component) }

// Expires answers when the certificate ends.
func (k *Keeper) Expires() time.Time { return k.current().pair.Leaf.NotAfter }

// Server answers the credentials of the component's listener: who connects has
// to be a component, too.
func (k *Keeper) Server() credentials.TransportCredentials { return &transport{keeper: k} }

// Client answers the credentials to connect to a component with: nobody else's
// certificate will do.
func (k *Keeper) Client(component string) credentials.TransportCredentials {
	return &transport{keeper: k, name: ServerName(component)}
}

// transport makes each handshake with what the keeper holds by then.
type transport struct {
	keeper *Keeper
	name   string // of the server, for a client
}

// ClientHandshake implements credentials.TransportCredentials. Whatever address a
// call goes to, the certificate has to be the component's.
func (t *transport) ClientHandshake(ctx context.Context, _ string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	h := t.keeper.current()
	err := t.keeper.fresh(h.pair.Leaf)
	if err != nil {
		return nil, nil, t.refused(conn, err)
	}
	cfg := h.config()
	cfg.RootCAs = h.authorities
	// Shown also to a server that does not trust its authority: its log says so.
	cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &h.pair, nil }
	secured, info, err := credentials.NewTLS(cfg).ClientHandshake(ctx, t.name, conn)
	if err != nil {
		return nil, nil, t.refused(conn, err)
	}
	return secured, info, nil
}

// ServerHandshake implements credentials.TransportCredentials.
func (t *transport) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if conn.RemoteAddr().Network() == memory {
		return insecure.NewCredentials().ServerHandshake(conn)
	}
	secured, info, err := credentials.NewTLS(t.keeper.current().server()).ServerHandshake(conn)
	if name := componentOf(leaf(info)); err == nil && (name == "" || name == Reader) {
		err = errors.New("the certificate is of no component")
		secured.Close()
	}
	if err != nil {
		return nil, nil, t.refused(conn, err)
	}
	return secured, info, nil
}

// refused logs why a handshake failed, within a bound, and passes it on.
func (t *transport) refused(conn net.Conn, cause error) error {
	if errors.Is(cause, io.EOF) { // another connection was there first, and was taken
		return cause
	}
	k := t.keeper
	k.mu.Lock()
	defer k.mu.Unlock()
	if now := k.now(); now.Sub(k.said) >= sayAgain {
		k.said = now
		k.log.Warn("no connection between components: a certificate is refused", "peer", conn.RemoteAddr(), "wanted", t.name, "error", cause)
	}
	return cause
}

// Info implements credentials.TransportCredentials.
func (t *transport) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

// Clone implements credentials.TransportCredentials.
func (t *transport) Clone() credentials.TransportCredentials { c := *t; return &c }

// OverrideServerName implements credentials.TransportCredentials. The name is
// the component's and stays.
func (t *transport) OverrideServerName(string) error { return nil }
