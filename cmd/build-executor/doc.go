// Command build-executor runs Builds of build.openshift.io/v1 as pods, on clusters
// where Build is a custom resource and nobody else runs them.
package main
