package source

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"strings"
	"unicode"
)

// Git is a place in a git repository.
type Git struct {
	// Source is what goes to the platform: github.com/acme/shop/cart, or an
	// https URL.
	Source string
	// Ref is the branch, tag or commit; "" is the default branch.
	Ref string
	// Host says whose credentials are needed.
	Host string
	// Name is what the service is called unless somebody says otherwise.
	Name string
}

// maxURL is far more than any repository's address needs.
const maxURL = 2048

var (
	// addressPattern is a host name or an IP address; which of them are allowed
	// is for the platform to say.
	addressPattern = regexp.MustCompile(`^[A-Za-z0-9:][A-Za-z0-9.:-]*$`)

	refPattern  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/+-]*$`)
	hostPattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)+$`)
)

// IsGit says whether text is meant as a repository: it has a scheme, or its
// first part is a host name.
func IsGit(text string) bool {
	if strings.Contains(text, "://") || strings.HasPrefix(text, "git@") {
		return true
	}
	first, rest, found := strings.Cut(text, "/")
	return found && rest != "" && hostPattern.MatchString(first)
}

// ParseGit reads host/org/repo[/sub/dir][@ref], with https:// in front or not.
func ParseGit(text string) (Git, error) {
	if len(text) > maxURL || strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) || r == '\\' }) {
		return Git{}, fmt.Errorf("the address of the repository holds characters that no address has, or is longer than %d bytes", maxURL)
	}
	address, ref, err := cutRef(text)
	if err != nil {
		return Git{}, err
	}
	full := address
	if !strings.Contains(full, "://") {
		full = "https://" + full
	}
	u, err := url.Parse(full)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || !addressPattern.MatchString(u.Hostname()) || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return Git{}, fmt.Errorf("%q is not a repository: write github.com/org/repo[/folder][@ref] or https://host/org/repo[/folder][@ref]; for a private one see \"micro run --help\"", text)
	}
	parts := strings.Split(strings.TrimPrefix(strings.TrimRight(u.Path, "/"), "/"), "/")
	if parts[0] == "" {
		return Git{}, fmt.Errorf("%q names a host, but no repository on it", text)
	}
	for _, p := range parts {
		if p == "" || p == "." || p == ".." || strings.HasPrefix(p, "-") {
			return Git{}, fmt.Errorf("%q: the folder must be inside the repository, %q is not a part of a path", text, p)
		}
	}
	return Git{
		Source: strings.TrimRight(address, "/"),
		Ref:    ref,
		Host:   u.Hostname(),
		Name:   strings.TrimSuffix(path.Base(u.Path), ".git"),
	}, nil
}

// cutRef takes @ref off the end. An @ before the path is a user's name, and no
// user belongs into an address.
func cutRef(text string) (address, ref string, err error) {
	i := strings.LastIndex(text, "@")
	if i < 0 {
		return text, "", nil
	}
	address, ref = text[:i], text[i+1:]
	_, rest, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(address, "https://"), "http://"), "/")
	if rest == "" || strings.Contains(address, "@") {
		return "", "", fmt.Errorf("the address of the repository has a user in it: leave that out, and keep the token with \"micro user config set git.credentials.github TOKEN\"")
	}
	if ref == "latest" {
		return address, "", nil
	}
	if !refPattern.MatchString(ref) || strings.Contains(ref, "..") {
		return "", "", fmt.Errorf("%q is not a branch, tag or commit", ref)
	}
	return address, ref, nil
}
