package manifests

import (
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

const (
	monitoring = "manifests/monitoring"
	runbooks   = "docs/user/runbooks"
	// runbookPages is where users read them.
	runbookPages = "https://github.com/machine-os-builder/machine-os-builder/blob/main/" + runbooks + "/"
)

// prometheusRule is what is looked at of a PrometheusRule.
type prometheusRule struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Groups []struct {
			Name  string `json:"name"`
			Rules []struct {
				Alert       string            `json:"alert"`
				Expr        string            `json:"expr"`
				For         string            `json:"for"`
				Labels      map[string]string `json:"labels"`
				Annotations map[string]string `json:"annotations"`
			} `json:"rules"`
		} `json:"groups"`
	} `json:"spec"`
}

type serviceMonitor struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Selector  metav1.LabelSelector `json:"selector"`
		Endpoints []struct {
			Port     string `json:"port"`
			Path     string `json:"path"`
			Interval string `json:"interval"`
		} `json:"endpoints"`
	} `json:"spec"`
}

// one decodes the only object of a kind.
func one(t *testing.T, kind string, into any) {
	t.Helper()
	found := 0
	for _, object := range build(t, monitoring) {
		if kindOf(t, object) == kind {
			decode(t, object, into)
			found++
		}
	}
	if found != 1 {
		t.Fatalf("%s has %d objects of kind %s", monitoring, found, kind)
	}
}

// TestRunbooks: each alert leads to a page that is there, and each page to an alert.
func TestRunbooks(t *testing.T) {
	var rule prometheusRule
	one(t, "PrometheusRule", &rule)
	index, err := os.ReadFile(filepath.Join(root, runbooks, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	pages := []string{"README.md"}
	for _, group := range rule.Spec.Groups {
		for _, alert := range group.Rules {
			page := alert.Alert + ".md"
			pages = append(pages, page)
			if url := alert.Annotations["runbook_url"]; url != runbookPages+page {
				t.Errorf("alert %s leads to %q, not to its own page", alert.Alert, url)
			}
			if alert.Annotations["summary"] == "" || alert.Annotations["description"] == "" {
				t.Errorf("alert %s does not say what it is about", alert.Alert)
			}
			if line := "| [" + alert.Alert + "](" + page + ") | " + alert.Labels["severity"] + " |"; !strings.Contains(string(index), line) {
				t.Errorf("the runbooks' index has no line %q", line)
			}
			text, err := os.ReadFile(filepath.Join(root, runbooks, page))
			if err != nil {
				t.Error(err)
				continue
			}
			for _, part := range []string{"# " + alert.Alert, "## Meaning", "## Impact", "## Diagnosis", "## Remedy", "```sh"} {
				if !strings.Contains(string(text), part+"\n") {
					t.Errorf("%s lacks %q", page, part)
				}
			}
		}
	}
	files, err := filepath.Glob(filepath.Join(root, runbooks, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !slices.Contains(pages, path.Base(filepath.ToSlash(file))) {
			t.Errorf("%s belongs to no alert", file)
		}
	}
}

// TestScraped: the ServiceMonitor finds the Service, the Service the pods, and
// the NetworkPolicy lets Prometheus in and nobody else.
func TestScraped(t *testing.T) {
	var monitor serviceMonitor
	one(t, "ServiceMonitor", &monitor)
	var service corev1.Service
	one(t, "Service", &service)
	var policy networkingv1.NetworkPolicy
	one(t, "NetworkPolicy", &policy)
	template := deploymentOf(t, "manifests/base").Spec.Template

	selector, err := metav1.LabelSelectorAsSelector(&monitor.Spec.Selector)
	if err != nil {
		t.Fatal(err)
	}
	if !selector.Matches(labels.Set(service.Labels)) || len(monitor.Spec.Endpoints) != 1 || monitor.Spec.Endpoints[0].Port != service.Spec.Ports[0].Name {
		t.Errorf("the ServiceMonitor (%+v) does not find the Service (labels %v, ports %v)", monitor.Spec, service.Labels, service.Spec.Ports)
	}
	if !labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(template.Labels)) {
		t.Errorf("the Service selects %v, the pods have %v", service.Spec.Selector, template.Labels)
	}
	ports := map[string]int32{}
	for _, p := range template.Spec.Containers[0].Ports {
		ports[p.Name] = p.ContainerPort
	}
	if target := service.Spec.Ports[0].TargetPort.String(); ports[target] == 0 {
		t.Errorf("the Service leads to port %q, the pod has %v", target, ports)
	}
	if service.Name != "machine-os-builder" {
		t.Errorf("the Service is %q; the alerts ask for the job machine-os-builder", service.Name)
	}

	if selector, err = metav1.LabelSelectorAsSelector(&policy.Spec.PodSelector); err != nil {
		t.Fatal(err)
	}
	if !selector.Matches(labels.Set(template.Labels)) {
		t.Errorf("the NetworkPolicy does not select the pods")
	}
	for _, rule := range policy.Spec.Ingress {
		for _, p := range rule.Ports {
			if ports[p.Port.String()] == 0 {
				t.Errorf("the NetworkPolicy names port %q, the pod has %v", p.Port, ports)
			}
			if p.Port.String() == "metrics" && len(rule.From) == 0 {
				t.Errorf("everybody may read the metrics")
			}
		}
	}
}

// TestMonitoringIsApart: what needs the Prometheus operator is in no overlay.
func TestMonitoringIsApart(t *testing.T) {
	for _, overlay := range overlays {
		for _, object := range build(t, overlay) {
			if strings.Contains(string(object), "apiVersion: monitoring.coreos.com/") {
				t.Errorf("%s holds a %s", overlay, kindOf(t, object))
			}
		}
	}
}

// TestDashboard: Grafana's sidecar finds one dashboard, which is JSON.
func TestDashboard(t *testing.T) {
	var cm corev1.ConfigMap
	one(t, "ConfigMap", &cm)
	if cm.Labels["grafana_dashboard"] == "" || len(cm.Data) != 1 || !json.Valid([]byte(cm.Data["dashboard.json"])) {
		t.Errorf("labels %v, %d keys, valid JSON: %t", cm.Labels, len(cm.Data), json.Valid([]byte(cm.Data["dashboard.json"])))
	}
}
