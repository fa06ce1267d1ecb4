package source

import (
	"net"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/micro/platform/framework/errors"
)

// Repository is a git source, taken apart.
type Repository struct {
	URL    string // what git is given
	Host   string // host or host:port
	Folder string // below the root of the repository; empty is the root
}

// hosts are those whose repositories are all host/owner/name, and which serve
// them under a name that ends in .git without a redirect.
var hosts = []string{"github.com", "gitlab.com", "bitbucket.org", "codeberg.org", "gitea.com"}

const onlyHTTPS = "only https URLs to public hosts are accepted as a git source"

// Parse takes a git source apart: "https://host/owner/name", or without the
// scheme, and with the path of a folder behind it. The repository ends with the
// first part that ends in ".git", or else with the second part of the path.
// trusted hosts (host or host:port) are the operator's own: they may be plain
// http, have a port, and be private.
func Parse(source string, trusted []string) (Repository, error) {
	if len(source) > 2048 || strings.ContainsFunc(source, unprintable) || strings.HasPrefix(source, "-") {
		return Repository{}, refuse(onlyHTTPS)
	}
	if !strings.Contains(source, "://") {
		source = "https://" + source
	}
	u, err := url.Parse(source)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		return Repository{}, refuse(onlyHTTPS)
	}
	host := strings.ToLower(u.Host)
	isTrusted := slices.Contains(trusted, host)
	if !isTrusted && !public(host) || u.Scheme != "https" && (u.Scheme != "http" || !isTrusted) {
		return Repository{}, refuse(onlyHTTPS)
	}
	repository, folder, err := splitPath(u.Path)
	if err != nil {
		return Repository{}, err
	}
	if slices.Contains(hosts, host) && !strings.HasSuffix(repository, ".git") {
		repository += ".git"
	}
	at := url.URL{Scheme: u.Scheme, Host: host, Path: "/" + repository}
	return Repository{URL: at.String(), Host: host, Folder: folder}, nil
}

// public says whether a host looks like a name of the public internet. What it
// resolves to is checked later.
func public(host string) bool {
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return false
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port = host, "443"
	}
	if port != "443" || !strings.Contains(name, ".") || strings.HasSuffix(name, ".") {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	// An address in disguise has no letters in its last label.
	last := name[strings.LastIndex(name, ".")+1:]
	return strings.Trim(last, "0123456789") != "" && !strings.HasPrefix(last, "0x") &&
		!slices.Contains([]string{"local", "localhost", "internal"}, last)
}

func splitPath(p string) (repository, folder string, err error) {
	parts := strings.Split(strings.Trim(p, "/"), "/")
	for _, part := range parts {
		if part == "" || part == "." || part == ".." || strings.HasPrefix(part, "-") || len(part) > maxPart || strings.ContainsFunc(part, unprintable) {
			return "", "", refuse("a git source looks like github.com/owner/name, with the folder of the service behind it")
		}
	}
	end := slices.IndexFunc(parts, func(s string) bool { return strings.HasSuffix(s, ".git") && s != ".git" }) + 1
	if end == 0 {
		end = 2
	}
	if len(parts) < end || len(parts) < 1 {
		return "", "", refuse("a git source looks like github.com/owner/name, with the folder of the service behind it")
	}
	return path.Join(parts[:end]...), path.Join(parts[end:]...), nil
}

func unprintable(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' || r > 0x7e }

// CheckRef checks a branch, a tag or a commit.
func CheckRef(ref string) error {
	ok := len(ref) <= 200 && !strings.HasPrefix(ref, "-") && !strings.HasPrefix(ref, "/") && !strings.Contains(ref, "..") &&
		!strings.HasSuffix(ref, ".lock") && !strings.HasSuffix(ref, "/") &&
		!strings.ContainsFunc(ref, func(r rune) bool {
			return unprintable(r) || strings.ContainsRune(`~^:?*[@{`, r)
		})
	if !ok {
		return refuse("%q is not a branch, a tag or a commit", errors.Clip(ref))
	}
	return nil
}

// CheckFolder checks a folder below the root of a source, and answers it clean;
// "." is the root.
func CheckFolder(folder string) (string, error) {
	if len(folder) > maxName || strings.ContainsAny(folder, "\\\x00") || strings.HasPrefix(folder, "/") ||
		slices.Contains(strings.Split(folder, "/"), "..") {
		return "", refuse("the folder must be inside the source")
	}
	return path.Clean("./" + folder), nil
}
