package backup

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"filippo.io/age"
)

// NewKey makes a pair of keys. Archives are made for the public one, so that
// who makes them cannot read them.
func NewKey() (public, secret string, err error) {
	k, err := age.GenerateX25519Identity()
	if err != nil {
		return "", "", fmt.Errorf("make a key: %w", err)
	}
	return k.Recipient().String(), k.String(), nil
}

// To answers for whom an archive is encrypted: public keys, or a passphrase.
func To(public []string, passphrase string) ([]age.Recipient, error) {
	if passphrase != "" {
		if len(public) > 0 {
			return nil, fmt.Errorf("an archive is for keys or for a passphrase, not for both")
		}
		r, err := age.NewScryptRecipient(passphrase)
		if err != nil {
			return nil, fmt.Errorf("passphrase: %w", err)
		}
		return []age.Recipient{r}, nil
	}
	var out []age.Recipient
	for _, p := range public {
		r, err := age.ParseX25519Recipient(p)
		if err != nil {
			return nil, fmt.Errorf("public key %q: it looks like age1…, as micro backup key prints it: %w", p, err)
		}
		out = append(out, r)
	}
	return out, nil
}

// With answers what an archive is read with: the secret keys in a file, or a
// passphrase.
func With(keyFile, passphrase string) ([]age.Identity, error) {
	if keyFile == "" {
		k, err := age.NewScryptIdentity(passphrase)
		if err != nil {
			return nil, fmt.Errorf("passphrase: %w", err)
		}
		return []age.Identity{k}, nil
	}
	b, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, err
	}
	keys, err := age.ParseIdentities(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%s: it has the line AGE-SECRET-KEY-1… that micro backup key prints: %w", keyFile, err)
	}
	return keys, nil
}

// Passphrase reads the first line of a file.
func Passphrase(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if line = strings.TrimRight(line, "\r"); line == "" {
		return "", fmt.Errorf("%s is empty: its first line is the passphrase", file)
	}
	return line, nil
}
