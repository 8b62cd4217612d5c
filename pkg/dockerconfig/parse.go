package dockerconfig

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
)

// The two Secret types that hold registry credentials, and their data keys, as
// Kubernetes defines them.
const (
	TypeDockerConfigJSON = "kubernetes.io/dockerconfigjson"
	TypeDockerCfg        = "kubernetes.io/dockercfg"
	KeyDockerConfigJSON  = ".dockerconfigjson"
	KeyDockerCfg         = ".dockercfg"
)

// What can be wrong with a Secret; the errors of this package wrap one of them.
var (
	ErrUnsupportedType = errors.New("unsupported Secret type")
	ErrMissingKey      = errors.New("missing key")
	ErrMalformed       = errors.New("malformed credentials")
)

// ParseSecret reads a Secret's data according to its type. It fails with
// ErrUnsupportedType, ErrMissingKey or ErrMalformed.
func ParseSecret(secretType string, data map[string][]byte) (*Config, error) {
	switch secretType {
	case TypeDockerConfigJSON:
		return parseKey(data, KeyDockerConfigJSON, ParseDockerConfigJSON)
	case TypeDockerCfg:
		return parseKey(data, KeyDockerCfg, ParseDockerCfg)
	default:
		return nil, fmt.Errorf("reading Secret of type %q: %w, want %s or %s",
			secretType, ErrUnsupportedType, TypeDockerConfigJSON, TypeDockerCfg)
	}
}

// ParseFiles reads a Secret that is mounted as files, by name. Which of the two
// formats it has is told by the file that is there; both are merged, the newer
// format first. It fails with ErrMissingKey or ErrMalformed.
func ParseFiles(files map[string][]byte) (*Config, error) {
	var configs []*Config
	for _, format := range []struct {
		key   string
		parse func([]byte) (*Config, error)
	}{{KeyDockerConfigJSON, ParseDockerConfigJSON}, {KeyDockerCfg, ParseDockerCfg}} {
		content, found := files[format.key]
		if !found {
			continue
		}
		config, err := format.parse(content)
		if err != nil {
			return nil, fmt.Errorf("reading key %s: %w", format.key, err)
		}
		configs = append(configs, config)
	}
	if len(configs) == 0 {
		return nil, fmt.Errorf("reading credentials: %w %s or %s", ErrMissingKey, KeyDockerConfigJSON, KeyDockerCfg)
	}
	return Merge(configs...), nil
}

func parseKey(data map[string][]byte, key string, parse func([]byte) (*Config, error)) (*Config, error) {
	content, found := data[key]
	if !found {
		return nil, fmt.Errorf("reading credentials: %w %s", ErrMissingKey, key)
	}
	config, err := parse(content)
	if err != nil {
		return nil, fmt.Errorf("reading key %s: %w", key, err)
	}
	return config, nil
}

// ParseDockerConfigJSON reads the content of a Docker config.json: an object
// with the member "auths". Errors wrap ErrMalformed.
func ParseDockerConfigJSON(content []byte) (*Config, error) {
	var file struct {
		Auths       map[string]json.RawMessage `json:"auths"`
		CredsStore  json.RawMessage            `json:"credsStore"`
		CredHelpers json.RawMessage            `json:"credHelpers"`
	}
	if err := decode(content, &file); err != nil {
		return nil, err
	}
	if file.Auths == nil {
		if file.CredsStore != nil || file.CredHelpers != nil {
			return nil, fmt.Errorf("%w: no member \"auths\": the credentials lie in a credential helper outside of the Secret", ErrMalformed)
		}
		return nil, fmt.Errorf("%w: no member \"auths\"", ErrMalformed)
	}
	return parseEntries(file.Auths)
}

// ParseDockerCfg reads the content of a legacy .dockercfg: an object whose
// members are the registries. Errors wrap ErrMalformed.
func ParseDockerCfg(content []byte) (*Config, error) {
	var entries map[string]json.RawMessage
	if err := decode(content, &entries); err != nil {
		return nil, err
	}
	if entries == nil {
		return nil, fmt.Errorf("%w: not a JSON object", ErrMalformed)
	}
	if _, found := entries["auths"]; found {
		return nil, fmt.Errorf("%w: has a member \"auths\": this is the format of type %s", ErrMalformed, TypeDockerConfigJSON)
	}
	return parseEntries(entries)
}

func parseEntries(entries map[string]json.RawMessage) (*Config, error) {
	keys := make([]string, 0, len(entries))
	for key := range entries {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	config := &Config{entries: map[string]entry{}}
	for _, key := range keys {
		if normalized, _ := normalizeKey(key); normalized == "" {
			return nil, fmt.Errorf("%w: a registry with an empty name", ErrMalformed)
		}
		credential, err := parseEntry(entries[key])
		if err != nil {
			return nil, fmt.Errorf("registry %q: %w", key, err)
		}
		// An empty entry is what Docker leaves for a registry whose login a helper keeps.
		if !credential.IsZero() {
			config.add(key, credential)
		}
	}
	return config, nil
}

func parseEntry(content []byte) (Credential, error) {
	var raw struct {
		Auth          string `json:"auth"`
		Username      string `json:"username"`
		Password      string `json:"password"`
		IdentityToken string `json:"identitytoken"`
		RegistryToken string `json:"registrytoken"`
	}
	if err := decode(content, &raw); err != nil {
		return Credential{}, err
	}
	credential := Credential{
		Username: raw.Username, Password: raw.Password,
		IdentityToken: raw.IdentityToken, RegistryToken: raw.RegistryToken,
	}
	if raw.Auth == "" {
		return credential, nil
	}
	decoded, err := decodeBase64(raw.Auth)
	if err != nil {
		return Credential{}, err
	}
	username, password, found := strings.Cut(string(decoded), ":")
	if !found {
		return Credential{}, fmt.Errorf("%w: member \"auth\" is not base64 of user:password", ErrMalformed)
	}
	credential.Username, credential.Password = username, strings.TrimRight(password, "\x00")
	return credential, nil
}

// decodeBase64 takes the padded and the unpadded form; Kubernetes tools write both.
func decodeBase64(text string) ([]byte, error) {
	text = strings.TrimRight(strings.TrimSpace(text), "=")
	decoded, err := base64.RawStdEncoding.DecodeString(text)
	if err == nil {
		return decoded, nil
	}
	if decoded, urlErr := base64.RawURLEncoding.DecodeString(text); urlErr == nil {
		return decoded, nil
	}
	return nil, fmt.Errorf("%w: member \"auth\" is not base64", ErrMalformed)
}

// decode is json.Unmarshal with errors that quote nothing of the input.
func decode(content []byte, into any) error {
	content = bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))
	if len(bytes.TrimSpace(content)) == 0 {
		return fmt.Errorf("%w: empty", ErrMalformed)
	}
	err := json.Unmarshal(content, into)
	var syntax *json.SyntaxError
	var wrongType *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &syntax):
		return fmt.Errorf("%w: not valid JSON at byte %d", ErrMalformed, syntax.Offset)
	case errors.As(err, &wrongType):
		if wrongType.Field == "" {
			return fmt.Errorf("%w: not a JSON object", ErrMalformed)
		}
		return fmt.Errorf("%w: member %q must be a %s", ErrMalformed, fieldName(wrongType.Field), jsonKind(wrongType))
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: JSON ends early", ErrMalformed)
	default:
		return fmt.Errorf("%w: not valid JSON", ErrMalformed)
	}
}

// fieldName keeps only the struct field: what follows could be a key of the input.
func fieldName(field string) string {
	name, _, _ := strings.Cut(field, ".")
	return name
}

func jsonKind(err *json.UnmarshalTypeError) string {
	if err.Type != nil && err.Type.Kind().String() == "string" {
		return "string"
	}
	return "JSON object"
}
