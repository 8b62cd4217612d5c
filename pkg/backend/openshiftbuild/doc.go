// Package openshiftbuild is the back-end that builds by Builds of
// build.openshift.io (openshift-image-builder), whoever runs those: OpenShift, or
// build-executor. A Build owns the pod that its controller makes of it; the rest is
// as in every back-end (package inputs).
package openshiftbuild
