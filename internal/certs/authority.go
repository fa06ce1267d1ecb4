package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// caLife is long: an authority is replaced by hand, in steps.
	caLife = 10 * 365 * 24 * time.Hour
	// backdate covers clocks that differ.
	backdate = 5 * time.Minute
)

// The files of a directory, beside COMPONENT.pem and COMPONENT.key.
const (
	bundleFile  = "ca.pem"      // every authority that is trusted
	signerFile  = "ca.key"      // of the one that signs
	nextFile    = "ca-next.key" // of the one that will
	certificate = ".pem"
	privateKey  = ".key"
)

// Authority is a certificate authority in a directory.
type Authority struct {
	dir string
	now func() time.Time
}

// Open answers the authority in dir; nothing is read yet.
func Open(dir string) *Authority { return &Authority{dir: dir, now: time.Now} }

// Init makes the authority. It refuses where there is one: what it has signed
// would be worth nothing.
func (a *Authority) Init() error {
	if err := os.MkdirAll(a.dir, 0o700); err != nil {
		return err
	}
	for _, name := range []string{bundleFile, signerFile, nextFile} {
		if _, err := os.Lstat(a.path(name)); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is there already: an authority is replaced by \"micro certs rotate\", never overwritten", a.path(name))
		}
	}
	key, cert, err := a.newCA()
	if err != nil {
		return err
	}
	if err := writeKey(a.path(signerFile), key); err != nil {
		return err
	}
	return writeCertificates(a.path(bundleFile), cert)
}

// Dir is where the authority is.
func (a *Authority) Dir() string { return a.dir }

func (a *Authority) path(name string) string { return filepath.Join(a.dir, name) }

func (a *Authority) newCA() (*ecdsa.PrivateKey, *x509.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	now := a.now()
	t := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "Micro components " + now.UTC().Format(time.DateOnly) + " " + rand.Text()[:6]},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(caLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return key, cert, err
}

// Issue makes a key and a certificate for a component that listens on those
// hosts, over the ones it had; without hosts it keeps those it had.
func (a *Authority) Issue(component string, hosts []string, life time.Duration) (Certificate, error) {
	var none Certificate
	names, addresses, err := split(hosts)
	if err != nil {
		return none, err
	}
	if old, err := readCertificates(a.path(component + certificate)); err == nil && len(hosts) == 0 {
		names, addresses = old[0].DNSNames, old[0].IPAddresses
		names = slices.DeleteFunc(names, func(n string) bool { return n == ServerName(component) })
	}
	if life <= 0 || life > caLife {
		return none, fmt.Errorf("a certificate lives between a second and %v, not %v", caLife, life)
	}
	signer, ca, err := a.signer()
	if err != nil {
		return none, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return none, err
	}
	now := a.now()
	end := now.Add(life)
	if end.After(ca.NotAfter) {
		end = ca.NotAfter
	}
	t := &x509.Certificate{
		Subject:   pkix.Name{CommonName: component},
		NotBefore: now.Add(-backdate), NotAfter: end,
		DNSNames: append([]string{ServerName(component)}, names...), IPAddresses: addresses,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, ca, key.Public(), signer)
	if err != nil {
		return none, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return none, err
	}
	// Who reads between the two writes sees a pair that does not fit, and keeps
	// what it has.
	if err := writeKey(a.path(component+privateKey), key); err != nil {
		return none, err
	}
	return describe(cert, a.path(component+certificate), ca), writeCertificates(a.path(component+certificate), cert)
}

// split tells hosts by name from those by address. The names that prove a
// component are not for hosts.
func split(hosts []string) (names []string, addresses []net.IP, err error) {
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			addresses = append(addresses, ip)
			continue
		}
		if h == "" || strings.ContainsAny(h, " /:*") || strings.HasSuffix(strings.ToLower(h), domain) {
			return nil, nil, fmt.Errorf("host %q: an address or a host name is wanted, without a port, and not one of %s", h, domain)
		}
		names = append(names, h)
	}
	return names, addresses, nil
}

// signer answers the key that signs and the certificate that belongs to it.
func (a *Authority) signer() (crypto.Signer, *x509.Certificate, error) {
	key, err := readKey(a.path(signerFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("no authority in %s: make one with \"micro certs init\"", a.dir)
	}
	if err != nil {
		return nil, nil, err
	}
	bundle, err := readCertificates(a.path(bundleFile))
	if err != nil {
		return nil, nil, err
	}
	for _, c := range bundle {
		if belongs(c, key) {
			return key, c, nil
		}
	}
	return nil, nil, fmt.Errorf("%s has no certificate of %s", a.path(bundleFile), a.path(signerFile))
}

// Certificate is one that the authority has issued, or an authority itself.
type Certificate struct {
	Component string    `json:"component,omitempty"` // empty for an authority
	File      string    `json:"file"`
	Names     []string  `json:"names,omitempty"`
	Addresses []string  `json:"addresses,omitempty"`
	Serial    string    `json:"serial"`
	From      time.Time `json:"from"`
	Expires   time.Time `json:"expires"`
	Authority string    `json:"authority"` // who signed it
	// Current says that the authority that signs now has signed it.
	Current bool `json:"current"`
}

func describe(c *x509.Certificate, file string, signer *x509.Certificate) Certificate {
	out := Certificate{Component: componentOf(c), File: file, Names: c.DNSNames, Serial: c.SerialNumber.Text(16),
		From: c.NotBefore.UTC(), Expires: c.NotAfter.UTC(), Authority: c.Issuer.CommonName, Current: c.CheckSignatureFrom(signer) == nil}
	for _, ip := range c.IPAddresses {
		out.Addresses = append(out.Addresses, ip.String())
	}
	return out
}

// List answers the authorities that are trusted, and the certificates of
// components, by name.
func (a *Authority) List() ([]Certificate, error) {
	_, signer, err := a.signer()
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(a.path("*" + certificate))
	if err != nil {
		return nil, err
	}
	var all []Certificate
	for _, file := range files {
		found, err := readCertificates(file)
		if err != nil {
			return nil, err
		}
		if filepath.Base(file) != bundleFile {
			found = found[:1] // the rest of a chain is not the component's
		}
		for _, c := range found {
			all = append(all, describe(c, file, signer))
		}
	}
	slices.SortStableFunc(all, func(x, y Certificate) int { return strings.Compare(x.Component, y.Component) })
	return all, nil
}
