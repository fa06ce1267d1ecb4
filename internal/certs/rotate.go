package certs

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// Begin makes the next authority and has it trusted beside the one that signs.
// The bundle has to be with every process before Switch.
func (a *Authority) Begin() error {
	if _, _, err := a.signer(); err != nil {
		return err
	}
	if _, err := os.Lstat(a.path(nextFile)); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is there already: a rotation is under way, go on with \"micro certs rotate switch\"", a.path(nextFile))
	}
	bundle, err := readCertificates(a.path(bundleFile))
	if err != nil {
		return err
	}
	key, cert, err := a.newCA()
	if err != nil {
		return err
	}
	if err := writeCertificates(a.path(bundleFile), append(bundle, cert)...); err != nil {
		return err
	}
	return writeKey(a.path(nextFile), key)
}

// Switch has the next authority sign from now on. Every component's certificate
// is to be issued again before End.
func (a *Authority) Switch() error {
	err := os.Rename(a.path(nextFile), a.path(signerFile))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("no next authority in %s: make one with \"micro certs rotate begin\"", a.dir)
	}
	return err
}

// End ends the trust in all authorities but the one that signs. It refuses while
// a component has a certificate of another.
func (a *Authority) End() error {
	if _, err := os.Lstat(a.path(nextFile)); !errors.Is(err, fs.ErrNotExist) {
		return errors.New("the next authority does not sign yet: \"micro certs rotate switch\" comes first")
	}
	_, signer, err := a.signer()
	if err != nil {
		return err
	}
	all, err := a.List()
	if err != nil {
		return err
	}
	var old []string
	for _, c := range all {
		if c.Component != "" && !c.Current {
			old = append(old, c.Component)
		}
	}
	if len(old) > 0 {
		return fmt.Errorf("these have certificates of another authority: %s; issue them again first", strings.Join(old, ", "))
	}
	return writeCertificates(a.path(bundleFile), []*x509.Certificate{signer}...)
}
