package names

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// hashVersion changes with the set or the order of what InputsHash covers, or
// with how an image is made of it, so that an upgrade that must rebuild does,
// and no other.
const hashVersion = "v1"

// hashBytes of SHA-256 are kept: 160 bits, short enough for a label value.
const hashBytes = 20

// Inputs is what an image is a function of. Credentials are not in it: a
// rotated Secret makes no new image.
type Inputs struct {
	Pool             string
	MachineConfig    string // hash of the rendered config's spec
	RenderedConfig   string
	BaseImage        string
	ExtensionsImage  string
	CustomDockerfile string
	ReleaseVersion   string
	Repository       string
	RebuildToken     string
	// What follows came later and is empty by default, so that hashes made before
	// there was a choice stay what they are.
	ConfigLayerOrder string `json:",omitempty"`
	// Architectures are those that the steps run for, separated by commas; empty
	// for that of whatever node.
	Architectures string `json:",omitempty"`
}

// InputsHash identifies a build by its content: version, dash, hex.
func InputsHash(in Inputs) string {
	parts := []string{
		hashVersion, in.Pool, in.MachineConfig, in.RenderedConfig, in.BaseImage, in.ExtensionsImage,
		in.CustomDockerfile, in.ReleaseVersion, in.Repository, in.RebuildToken,
	}
	if in.ConfigLayerOrder != "" {
		parts = append(parts, "configLayerOrder", in.ConfigLayerOrder)
	}
	if in.Architectures != "" {
		parts = append(parts, "architectures", in.Architectures)
	}
	return hashVersion + "-" + hex.EncodeToString(sum(parts)[:hashBytes])
}

// sum hashes each part with its length, so that no two lists look the same.
func sum(parts []string) []byte {
	h := sha256.New()
	for _, part := range parts {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		h.Write(length[:])
		h.Write([]byte(part))
	}
	return h.Sum(nil)
}

// ImageHash identifies an image by what it is made of. That it was asked for
// again is no part of it: a rebuild that finds nothing new makes the same bytes.
func ImageHash(in Inputs) string {
	in.RebuildToken = ""
	return InputsHash(in)
}

// stepsVersion changes with how an image is made of what StepsKey covers.
const stepsVersion = "steps-v1"

// StepsInputs is what the result of a Dockerfile's steps is a function of, as far as
// one can know, when no config is below it.
type StepsInputs struct {
	BaseDigest string // of the image for one platform
	Dockerfile string
	// Images are the names in the Dockerfile and the digests for the platform.
	Images [][2]string
	// RebuildToken asks for the steps to be run again.
	RebuildToken string
}

// StepsKey identifies that result: 64 hex digits.
func StepsKey(in StepsInputs) string {
	return hex.EncodeToString(stepsSum(in))
}

// StepsTag is where the result is kept, in the repository of the images.
func StepsTag(in StepsInputs) string {
	return "cache-" + hex.EncodeToString(stepsSum(in)[:hashBytes])
}

// cacheVersion changes with the form of what is kept of single steps.
const cacheVersion = "steps-of-pool-v1"

// BuildCacheID identifies what is kept of the steps of a pool's builds, by the
// pool's name and UID: 40 hex digits. A pool that is made anew begins anew.
func BuildCacheID(pool, uid string) string {
	return hex.EncodeToString(sum([]string{cacheVersion, pool, uid})[:hashBytes])
}

// BuildCacheTag is where that is kept for an architecture, in the repository of the
// images.
func BuildCacheTag(id, architecture string) string { return "cache-" + id + "-" + architecture }

// StepInputs is what the result of one instruction is a function of, as far as one
// can know.
type StepInputs struct {
	// Before is the key of the instruction before or, of the first in its stage, what
	// it begins with: the digest of an image or the key of an earlier stage's last.
	Before string
	// Text is the instruction with its here-documents.
	Text string
	// Others are what it reads besides: keys of stages, digests of images, hashes of
	// files.
	Others []string
}

// StepKey identifies that result: 64 hex digits.
func StepKey(in StepInputs) string {
	return hex.EncodeToString(sum(append([]string{cacheVersion, in.Before, in.Text}, in.Others...)))
}

// IndexTag is where it is kept what the file system of an image looks like, by the
// image's digest.
func IndexTag(digest string) (string, error) {
	_, digits, _ := strings.Cut(digest, ":")
	if len(digits) < 2*hashBytes {
		return "", fmt.Errorf("naming the index of an image: %q is no digest", digest)
	}
	return "base-" + digits[:2*hashBytes], nil
}

func stepsSum(in StepsInputs) []byte {
	parts := []string{stepsVersion, in.BaseDigest, in.Dockerfile, in.RebuildToken}
	for _, image := range in.Images {
		parts = append(parts, image[0], image[1])
	}
	return sum(parts)
}

// Content is the hex SHA-256 of data.
func Content(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
