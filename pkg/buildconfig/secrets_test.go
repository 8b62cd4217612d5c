package buildconfig

import (
	"encoding/base64"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
)

// password is what no message may hold, nor its encoded form.
const password = "hunter2-S3cr3t"

var (
	auth      = base64.StdEncoding.EncodeToString([]byte("user:" + password))
	pushRef   = SecretRef{Key: api.KeyFinalImagePushSecretName, Name: "push"}
	jsonType  = corev1.SecretTypeDockerConfigJson
	olderType = corev1.SecretTypeDockercfg
)

func secret(kind corev1.SecretType, pairs ...string) *corev1.Secret {
	s := &corev1.Secret{Type: kind, Data: map[string][]byte{}}
	for i := 0; i < len(pairs); i += 2 {
		s.Data[pairs[i]] = []byte(pairs[i+1])
	}
	return s
}

func TestUsableSecrets(t *testing.T) {
	for name, s := range map[string]*corev1.Secret{
		"newer type":            secret(jsonType, corev1.DockerConfigJsonKey, `{"auths":{"registry.example.com":{"auth":"`+auth+`"}}}`),
		"legacy type":           secret(olderType, corev1.DockerConfigKey, `{"registry.example.com":{"auth":"`+auth+`"}}`),
		"name and password":     secret(olderType, corev1.DockerConfigKey, `{"registry.example.com":{"username":"user","password":"`+password+`"}}`),
		"with keys of no worth": secret(jsonType, corev1.DockerConfigJsonKey, `{"auths":{"registry.example.com":{"auth":"`+auth+`"}}}`, "other", "x"),
	} {
		config, problems := CheckSecret(pushRef, s)
		if len(problems) > 0 {
			t.Errorf("%s: %v", name, problems)
			continue
		}
		c, ok := config.Lookup("registry.example.com", "os/images")
		if !ok || c.Username != "user" || c.Password != password {
			t.Errorf("%s: credentials were not read", name)
		}
	}
}

// TestS32UnusableSecrets: each is named with its key and the way to mend it,
// and no message holds a credential.
func TestS32UnusableSecrets(t *testing.T) {
	for name, row := range map[string]struct {
		secret *corev1.Secret
		says   string
	}{
		"missing":                   {nil, "does not exist"},
		"of another type":           {secret(corev1.SecretTypeOpaque, corev1.DockerConfigJsonKey, `{"auths":{}}`), `type "Opaque"`},
		"of no type":                {secret("", "password", password), "use type"},
		"without its key":           {secret(jsonType, "password", password), corev1.DockerConfigJsonKey},
		"with the other type's key": {secret(olderType, corev1.DockerConfigJsonKey, `{"auths":{}}`), corev1.DockerConfigKey},
		"with broken JSON":          {secret(jsonType, corev1.DockerConfigJsonKey, `{"auths":{"r":{"password":"`+password+`"`), "holds no usable"},
		"with text for JSON":        {secret(jsonType, corev1.DockerConfigJsonKey, password), "holds no usable"},
		"with a password as auths":  {secret(jsonType, corev1.DockerConfigJsonKey, `{"auths":"`+password+`"}`), "holds no usable"},
		"with a password as entry":  {secret(jsonType, corev1.DockerConfigJsonKey, `{"auths":{"r":"`+password+`"}}`), "holds no usable"},
		"with auth that is plain":   {secret(jsonType, corev1.DockerConfigJsonKey, `{"auths":{"r":{"auth":"user:`+password+`"}}}`), "holds no usable"},
		"with auth without a colon": {secret(olderType, corev1.DockerConfigKey, `{"r":{"auth":"`+base64.StdEncoding.EncodeToString([]byte(password))+`"}}`), "holds no usable"},
		"in the wrong format":       {secret(olderType, corev1.DockerConfigKey, `{"auths":{"r":{"auth":"`+auth+`"}}}`), "holds no usable"},
	} {
		t.Run(name, func(t *testing.T) {
			config, problems := CheckSecret(pushRef, row.secret)
			if len(problems) != 1 || config != nil {
				t.Fatalf("problems %q, want one", problems)
			}
			text := problems.String()
			for _, want := range []string{"ConfigMap/" + api.ConfigMapBuildConfig, api.KeyFinalImagePushSecretName, `"push"`, row.says} {
				if !strings.Contains(text, want) {
					t.Errorf("%q does not say %s", text, want)
				}
			}
			for _, hidden := range []string{password, auth, base64.StdEncoding.EncodeToString([]byte(password))} {
				if strings.Contains(text, hidden) {
					t.Errorf("%q holds a credential", text)
				}
			}
		})
	}
}

// FuzzNoCredentialInMessages hides a credential at any place of any text.
func FuzzNoCredentialInMessages(f *testing.F) {
	f.Add(`{"auths":{"registry.example.com":{"auth":"`, `"}}}`, true)
	f.Add(`{"registry.example.com":{"password":"`, `"`, false)
	f.Add("", "", true)
	f.Fuzz(func(t *testing.T, before, after string, newer bool) {
		kind, key := olderType, corev1.DockerConfigKey
		if newer {
			kind, key = jsonType, corev1.DockerConfigJsonKey
		}
		if strings.Contains(before+after, password) {
			return
		}
		_, problems := CheckSecret(pushRef, secret(kind, key, before+password+after))
		if strings.Contains(problems.String(), password) {
			t.Errorf("%q holds the credential", problems)
		}
	})
}
