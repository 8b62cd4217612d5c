package main

import apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

// adaptBuild makes of the types of a Build, which OpenShift serves by an API server
// of its own, what a custom resource needs: the schema takes whatever a client writes
// that uses these types, and what is wrong with a Build its status tells.
func adaptBuild(definition *apiextensionsv1.CustomResourceDefinition) {
	definition.Spec.Names.Categories = []string{"all"}
	version := &definition.Spec.Versions[0]
	version.Subresources = &apiextensionsv1.CustomResourceSubresources{Status: &apiextensionsv1.CustomResourceSubresourceStatus{}}
	version.AdditionalPrinterColumns = []apiextensionsv1.CustomResourceColumnDefinition{
		{Name: "Type", Type: "string", JSONPath: ".spec.strategy.type"},
		{Name: "From", Type: "string", JSONPath: ".spec.source.type"},
		{Name: "Status", Type: "string", JSONPath: ".status.phase"},
		{Name: "Started", Type: "date", JSONPath: ".status.startTimestamp"},
		{Name: "Duration", Type: "integer", JSONPath: ".status.duration", Description: "in nanoseconds"},
		{Name: "Reason", Type: "string", JSONPath: ".status.reason", Priority: 1},
		{Name: "Image", Type: "string", JSONPath: ".status.outputDockerImageReference", Priority: 1},
		{Name: "Digest", Type: "string", JSONPath: ".status.output.to.imageDigest", Priority: 1},
	}
	root := version.Schema.OpenAPIV3Schema
	relax(root)
	root.Description = "A Build makes one container image. Its fields are those of OpenShift's build.openshift.io/v1."
}

// relax drops descriptions, asks for no field, and lets be null what Go writes as
// null or reads as nothing: times, maps and lists.
func relax(s *apiextensionsv1.JSONSchemaProps) {
	s.Description, s.Required = "", nil
	s.Nullable = s.Format == "date-time" || s.Type == "array" || s.AdditionalProperties != nil
	for name, p := range s.Properties {
		relax(&p)
		s.Properties[name] = p
	}
	if s.Items != nil {
		relax(s.Items.Schema)
		// What tells the entries of a list apart has to be there.
		s.Items.Schema.Required = s.XListMapKeys
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil {
		relax(s.AdditionalProperties.Schema)
	}
}
