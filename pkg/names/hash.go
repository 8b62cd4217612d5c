package names

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
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
}

// InputsHash identifies a build by its content: version, dash, hex.
func InputsHash(in Inputs) string {
	h := sha256.New()
	for _, part := range []string{
		hashVersion, in.Pool, in.MachineConfig, in.RenderedConfig, in.BaseImage, in.ExtensionsImage,
		in.CustomDockerfile, in.ReleaseVersion, in.Repository, in.RebuildToken,
	} {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		h.Write(length[:])
		h.Write([]byte(part))
	}
	return hashVersion + "-" + hex.EncodeToString(h.Sum(nil)[:hashBytes])
}

// ImageHash identifies an image by what it is made of. That it was asked for
// again is no part of it: a rebuild that finds nothing new makes the same bytes.
func ImageHash(in Inputs) string {
	in.RebuildToken = ""
	return InputsHash(in)
}

// Content is the hex SHA-256 of data.
func Content(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
