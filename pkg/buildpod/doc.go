// Package buildpod makes the pods that build images, as plain values.
//
// A build in which nothing has to run is one container, image-build, that
// appends a layer through the registry's API; its pod meets the restricted Pod
// Security level. A build with steps of the user's is three containers in a
// row over shared emptyDir volumes: prepare (pull credentials), image-build (no
// credential at all), push (push credential). Only push's result can name a
// digest. That pod meets the baseline level: setting up a user namespace takes
// newuidmap with file capabilities, so privilege escalation has to be allowed.
package buildpod
