package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/micro/platform/framework/errors"
)

// pushes is how often an image is pushed: a part that the registry had at first
// may be swept before the image needs it.
const pushes = 2

// Registry is where images go for hosts to get them: the component images.
type Registry struct {
	host string
	way  http.RoundTripper
}

// NewRegistry names the registry that a transport reaches as host.
func NewRegistry(host string, way http.RoundTripper) *Registry { return &Registry{host, way} }

// push pushes what the registry does not have of an image.
func (r *Registry) push(ctx context.Context, id ID, img v1.Image) (string, error) {
	repo, err := r.repository(id)
	if err != nil {
		return "", err
	}
	for range pushes {
		if err = remote.Write(repo.Tag(tag(id)), img, r.options(ctx)...); err == nil || ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		return "", fmt.Errorf("push image: %w", err)
	}
	digest, err := img.Digest()
	if err != nil {
		return "", err
	}
	return repo.RepositoryStr() + "@" + digest.String(), nil
}

// has says whether an image is there.
func (r *Registry) has(ctx context.Context, image string) (bool, error) {
	ref, err := name.NewDigest(r.host+"/"+image, name.StrictValidation)
	if err != nil {
		return false, nil //nolint:nilerr // an image of before there was a registry
	}
	_, err = remote.Head(ref, r.options(ctx)...)
	if isUnknown(err) {
		return false, nil
	}
	return err == nil, err
}

// forget deletes images. Without a service, all that the namespace has goes.
func (r *Registry) forget(ctx context.Context, id ID) error {
	if id.Service == "" {
		return r.erase(ctx, id.Namespace)
	}
	repo, err := r.repository(id)
	if err != nil {
		return err
	}
	tags, err := remote.List(repo, r.options(ctx)...)
	if isUnknown(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list images: %w", err)
	}
	for _, t := range tags {
		if !tagOf(id, t) {
			continue
		}
		image, err := remote.Head(repo.Tag(t), r.options(ctx)...)
		if err == nil {
			err = remote.Delete(repo.Digest(image.Digest.String()), r.options(ctx)...)
		}
		if err != nil && !isUnknown(err) {
			return fmt.Errorf("delete image: %w", err)
		}
	}
	return nil
}

// erase removes the repositories of a namespace, in as many parts as it takes.
func (r *Registry) erase(ctx context.Context, namespace string) error {
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodDelete, "https://"+r.host+"/namespaces/"+folder(namespace), nil)
		if err != nil {
			return err
		}
		rsp, err := r.way.RoundTrip(req)
		if err != nil {
			return fmt.Errorf("erase images: %w", err)
		}
		rsp.Body.Close()
		switch rsp.StatusCode {
		case http.StatusAccepted:
		case http.StatusNoContent:
			return nil
		default:
			return fmt.Errorf("erase images: status %d", rsp.StatusCode)
		}
	}
}

func (r *Registry) options(ctx context.Context) []remote.Option {
	return []remote.Option{remote.WithContext(ctx), remote.WithTransport(r.way)}
}

func (r *Registry) repository(id ID) (name.Repository, error) {
	return name.NewRepository(r.host+"/"+folder(id.Namespace)+"/"+folder(id.Service), name.StrictValidation)
}

// isUnknown says whether the registry does not have something.
func isUnknown(err error) bool {
	var e *transport.Error
	return errors.As(err, &e) && e.StatusCode == http.StatusNotFound
}

// plain is a name that may stand in a repository's as it is. Others are hashed,
// behind a mark that no plain one has.
var plain = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

const longest = 100

// folder is the part of a repository's name that stands for a namespace or a
// service.
func folder(name string) string {
	if len(name) <= longest && plain.MatchString(name) {
		return name
	}
	return "x__" + short(name)
}

// tag names a build in its service's repository.
func tag(id ID) string { return strconv.FormatInt(id.Revision, 10) + "-" + short(id.Version) }

// tagOf says whether a tag is of one of the builds that id means.
func tagOf(id ID, tag string) bool {
	revision, version, _ := strings.Cut(tag, "-")
	return (id.Version == "" || version == short(id.Version)) && (id.Revision == 0 || revision == strconv.FormatInt(id.Revision, 10))
}

func short(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:16])
}
