package registry

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Annotation keys of the OCI image specification.
const (
	AnnotationBaseName   = "org.opencontainers.image.base.name"
	AnnotationBaseDigest = "org.opencontainers.image.base.digest"
)

// Content is what Append adds to a base.
type Content struct {
	// Layer returns the layer to append for one platform; nil appends none.
	Layer func(image *BaseImage) *Layer
	// Labels are set in every image's config.
	Labels map[string]string
	// Annotations are set on every manifest, and on the index. The base's name
	// and digest are added to them, unless they name another base.
	Annotations map[string]string
	// CreatedBy is the history entry of the layer.
	CreatedBy string
}

// ociTypes maps Docker's media types to those of the OCI, for the same bytes.
// Annotations exist only in OCI manifests.
var ociTypes = map[types.MediaType]types.MediaType{
	types.DockerLayer:                                   types.OCILayer,
	types.DockerUncompressedLayer:                       types.OCIUncompressedLayer,
	types.DockerForeignLayer:                            types.OCIRestrictedLayer,
	"application/vnd.docker.image.rootfs.diff.tar.zstd": types.OCILayerZStd,
}

func ociLayerType(mediaType types.MediaType) types.MediaType {
	if oci, found := ociTypes[mediaType]; found {
		return oci
	}
	return mediaType
}

// composed is one image ready to be pushed.
type composed struct {
	manifest []byte
	config   []byte
	layer    *Layer // the new one, or nil
}

type descriptor struct {
	MediaType   types.MediaType   `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	URLs        []string          `json:"urls,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Platform    any               `json:"platform,omitempty"`
}

type manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     types.MediaType   `json:"mediaType"`
	Config        descriptor        `json:"config"`
	Layers        []descriptor      `json:"layers"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// compose makes the manifest and config of base plus content. It is a function
// of its arguments alone: the time of creation is the base's, so that the same
// inputs give the same digest.
func compose(base *Base, image *BaseImage, content Content) (*composed, error) {
	var old manifest
	if err := json.Unmarshal(image.manifest, &old); err != nil {
		return nil, fmt.Errorf("%w: manifest does not parse", ErrCorrupt)
	}
	out := &composed{}
	if content.Layer != nil {
		out.layer = content.Layer(image)
	}
	var err error
	if out.config, err = composeConfig(image.config, out.layer, content); err != nil {
		return nil, err
	}
	next := manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		Config: descriptor{
			MediaType: types.OCIConfigJSON, Digest: sha256Hash(out.config).String(), Size: int64(len(out.config)),
		},
		Layers:      make([]descriptor, 0, len(old.Layers)+1),
		Annotations: mergeMaps(old.Annotations, annotations(base, image.Digest, content)),
	}
	for _, layer := range old.Layers {
		layer.MediaType = ociLayerType(layer.MediaType)
		next.Layers = append(next.Layers, layer)
	}
	if out.layer != nil {
		next.Layers = append(next.Layers, descriptor{
			MediaType: out.layer.compression.MediaType(), Digest: out.layer.digest.String(), Size: out.layer.Bytes(),
		})
	}
	if out.manifest, err = json.Marshal(next); err != nil {
		return nil, fmt.Errorf("encoding manifest: %w", err)
	}
	return out, nil
}

func annotations(base *Base, digest string, content Content) map[string]string {
	return mergeMaps(map[string]string{
		AnnotationBaseName: base.Name, AnnotationBaseDigest: digest,
	}, content.Annotations)
}

// mergeMaps returns a new map; later maps win.
func mergeMaps(maps ...map[string]string) map[string]string {
	merged := map[string]string{}
	for _, m := range maps {
		for key, value := range m {
			merged[key] = value
		}
	}
	return merged
}

// object is a JSON object of which only some members are known.
type object map[string]json.RawMessage

func (o object) get(key string, into any) error {
	raw, found := o[key]
	if !found || string(raw) == "null" {
		return nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("%w: member %q of the image config has another form", ErrCorrupt, key)
	}
	return nil
}

func (o object) set(key string, value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encoding image config: %w", err)
	}
	o[key] = raw
	return nil
}

// composeConfig edits the base's config and keeps every member it does not know.
func composeConfig(raw []byte, layer *Layer, content Content) ([]byte, error) {
	config := object{}
	if err := json.Unmarshal(raw, &config); err != nil {
		return nil, fmt.Errorf("%w: image config is not a JSON object", ErrCorrupt)
	}
	if err := addLabels(config, content.Labels); err != nil {
		return nil, err
	}
	// Docker's description of the container that last committed is not ours.
	for _, member := range []string{"container", "container_config"} {
		delete(config, member)
	}
	if layer != nil {
		if err := addLayer(config, layer, content.CreatedBy); err != nil {
			return nil, err
		}
	}
	encoded, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("encoding image config: %w", err)
	}
	return encoded, nil
}

func addLabels(config object, add map[string]string) error {
	execution := object{}
	if err := config.get("config", &execution); err != nil {
		return err
	}
	labels := map[string]string{}
	if err := execution.get("Labels", &labels); err != nil {
		return err
	}
	if err := execution.set("Labels", mergeMaps(labels, add)); err != nil {
		return err
	}
	return config.set("config", execution)
}

func addLayer(config object, layer *Layer, createdBy string) error {
	rootfs := object{}
	var diffIDs []string
	if err := config.get("rootfs", &rootfs); err != nil {
		return err
	}
	if err := rootfs.get("diff_ids", &diffIDs); err != nil {
		return err
	}
	if err := rootfs.set("diff_ids", append(diffIDs, layer.diffID.String())); err != nil {
		return err
	}
	if err := config.set("rootfs", rootfs); err != nil {
		return err
	}
	var created time.Time
	var history []json.RawMessage
	if err := config.get("created", &created); err != nil {
		return err
	}
	if err := config.get("history", &history); err != nil {
		return err
	}
	entry, err := json.Marshal(map[string]any{"created": created, "created_by": createdBy})
	if err != nil {
		return fmt.Errorf("encoding image config: %w", err)
	}
	return config.set("history", append(history, entry))
}
