package buildconfig

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/machine-os-builder/machine-os-builder/pkg/api"
)

// ServiceCA returns the certificate authorities of the ConfigMap that OpenShift
// fills in; nil when it does not exist or has none yet.
func ServiceCA(cm *corev1.ConfigMap) ([]byte, Problems) {
	return authorities(cm, api.ConfigMapServiceCA, api.ServiceCAKey)
}

// UserCA returns the certificate authorities that users add; nil when there is
// no such ConfigMap, or nothing in it yet.
func UserCA(cm *corev1.ConfigMap) ([]byte, Problems) {
	return authorities(cm, api.ConfigMapUserCA, api.UserCAKey)
}

func authorities(cm *corev1.ConfigMap, name, key string) ([]byte, Problems) {
	var ps Problems
	if cm == nil || strings.TrimSpace(cm.Data[key]) == "" {
		return nil, nil
	}
	bundle := []byte(cm.Data[key])
	if !x509.NewCertPool().AppendCertsFromPEM(bundle) {
		ps.add("ConfigMap/"+name, key, "holds no certificate in PEM form, but "+contents(bundle)+
			"; put the registry's certificate authority there, or remove the key")
		return nil, ps
	}
	return bundle, nil
}

// contents says what a bundle holds and shows nothing of it: that may be a key.
func contents(bundle []byte) string {
	block, _ := pem.Decode(bundle)
	switch {
	case block == nil:
		return fmt.Sprintf("%d bytes of something else", len(bundle))
	case block.Type == "CERTIFICATE":
		return "a certificate that cannot be read"
	case strings.HasSuffix(block.Type, "PRIVATE KEY"):
		return "a private key"
	case block.Type == "TRUSTED CERTIFICATE", block.Type == "X509 CERTIFICATE":
		return "a block " + block.Type
	}
	return "a PEM block of another type"
}
