package kubelet

import (
	"context"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/machine-os-builder/machine-os-builder/pkg/buildspec"
	"github.com/machine-os-builder/machine-os-builder/pkg/names"
)

// share is a pod's part in an index, by its arguments.
type share struct {
	architecture, run string
	architectures     []string
}

func (s *share) take(arg string) {
	switch flag, value, _ := strings.Cut(arg, "="); flag {
	case "--architecture":
		s.architecture = value
	case "--architectures":
		s.architectures = strings.Split(value, ",")
	case "--run":
		s.run = value
	}
}

// join pushes the image of one architecture as a build does, and the index when
// it is the last.
func (a *actor) join(ctx context.Context, target string, image v1.Image, s share) (buildspec.Result, error) {
	var result buildspec.Result
	final, err := name.NewTag(target)
	if err != nil {
		return result, err
	}
	tag := func(architecture string) string {
		return final.Context().Tag(names.MemberTag(final.TagStr(), architecture, s.run)).Name()
	}
	if result.Member, err = a.Registry.Push(ctx, tag(s.architecture), image); err != nil {
		return result, err
	}
	result.Succeeded = true
	var index v1.ImageIndex = empty.Index
	var members []string
	for _, architecture := range s.architectures {
		member, err := a.Registry.image(tag(architecture))
		if err != nil {
			return result, nil //nolint:nilerr // another pod will push the index
		}
		digest, err := member.Digest()
		if err != nil {
			return result, err
		}
		members = append(members, digest.String())
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: member, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: architecture}},
		})
	}
	result.Digest, err = a.Registry.PushIndex(ctx, target, index)
	result.Members = members
	return result, err
}

func (r *Registry) image(pullspec string) (v1.Image, error) {
	ref, err := name.ParseReference(pullspec)
	if err != nil {
		return nil, err
	}
	return remote.Image(ref, remote.WithTransport(r))
}

// PushIndex pushes an index, whose images are there, as a build does.
func (r *Registry) PushIndex(ctx context.Context, pullspec string, index v1.ImageIndex) (string, error) {
	ref, err := name.ParseReference(pullspec)
	if err != nil {
		return "", err
	}
	if err := remote.WriteIndex(ref, index, append(r.once(), remote.WithContext(ctx))...); err != nil {
		return "", err
	}
	digest, err := index.Digest()
	return digest.String(), err
}
