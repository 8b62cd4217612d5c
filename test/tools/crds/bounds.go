package main

import (
	"fmt"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// A bound limits the length of one list. The API server estimates what a CEL
// rule costs from the longest list that the schema allows and refuses a
// definition whose rules may cost too much. In these places OpenShift sets the
// limit by a marker of its own, which depends on a feature gate.
type bound struct {
	path     []string // property names from the root; items of lists are stepped into
	maxItems int64
}

var bounds = map[string][]bound{
	"ControllerConfig": {
		{platform("nutanix", "failureDomains", "subnets"), 32},
		{platform("vsphere", "failureDomains", "topology", "networks"), 10},
	},
}

func platform(path ...string) []string {
	return append([]string{"spec", "infra", "spec", "platformSpec"}, path...)
}

// apply sets the limit in the schema; a path that the schema does not have is an error.
func (b bound) apply(schema *apiextensionsv1.JSONSchemaProps) error {
	if len(b.path) == 0 {
		schema.MaxItems = &b.maxItems
		return nil
	}
	within := schema
	if within.Items != nil {
		within = within.Items.Schema
	}
	next, found := within.Properties[b.path[0]]
	if !found {
		return fmt.Errorf("no property %q to set a limit under", b.path[0])
	}
	if err := (bound{b.path[1:], b.maxItems}).apply(&next); err != nil {
		return err
	}
	within.Properties[b.path[0]] = next
	return nil
}
