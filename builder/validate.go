package builder

import (
	"regexp"

	"google.golang.org/grpc/codes"

	"github.com/micro/platform/builder/source"
	"github.com/micro/platform/framework/errors"
	builderpb "github.com/micro/platform/proto/builder"
)

// The names of a build end up in labels and names of images, so they are plain.
var (
	namePattern    = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,127}$`)
	versionPattern = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._/+@-]{0,199}$`)
)

func checkID(id *builderpb.ID) error {
	switch {
	case !namePattern.MatchString(id.GetNamespace()):
		return errors.New(codes.InvalidArgument, "id.namespace is not a name")
	case !namePattern.MatchString(id.GetService()):
		return errors.New(codes.InvalidArgument, "the name of a service has letters, digits, \".\", \"_\" and \"-\", at most 128")
	case !versionPattern.MatchString(id.GetVersion()):
		return errors.New(codes.InvalidArgument, "a version has letters, digits and \". _ / + @ -\", at most 200")
	case id.GetRevision() < 1:
		return errors.New(codes.InvalidArgument, "id.revision must be positive")
	}
	return nil
}

// check refuses what no attempt could build, before there is a job for it.
func check(req *builderpb.BuildRequest, gitHosts []string) error {
	if err := checkID(req.GetId()); err != nil {
		return err
	}
	if _, err := source.CheckFolder(req.GetEntrypoint()); err != nil {
		return err
	}
	if len(req.GetGitCredentials()) > 4096 {
		return errors.New(codes.InvalidArgument, "the git credentials are longer than 4096 bytes")
	}
	if req.GetUpload() != "" {
		if len(req.GetUpload()) > 1024 {
			return errors.New(codes.InvalidArgument, "upload is longer than 1024 bytes")
		}
		return nil
	}
	if _, err := source.Parse(req.GetSource(), gitHosts); err != nil {
		return err
	}
	if req.GetRef() == "" {
		return nil
	}
	return source.CheckRef(req.GetRef())
}
