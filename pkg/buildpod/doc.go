// Package buildpod makes the pods that build images, as plain values.
//
// A build in which nothing has to run is one container, image-build, that
// appends a layer through the registry's API; its pod meets the restricted Pod
// Security level. A build with steps of the user's is three containers in a row
// over emptyDir volumes: prepare (credentials), image-build (no credential at
// all), push (push credential). Only push's result can name a digest.
//
//	volume    prepare   image-build  push
//	work      writes    reads        reads   the Dockerfile, its context, the plan
//	storage   writes    writes       -       buildah's store
//	handover  -         writes       reads   the image, as files
//	tmp       its own   its own      -
//	kept-     writes    reads        -       base images of earlier builds, where a
//	images                                   claim is named
//
// What push takes on trust lies in work, which the user's steps cannot write;
// what it checks lies in handover. That pod meets the baseline level: setting up
// a user namespace takes newuidmap with file capabilities, so privilege
// escalation has to be allowed in the first two. push is restricted.
//
// The pod of a Build of build.openshift.io/v1 is made in the same way, with the names
// that OpenShift's pods have: git-clone, where the source is a git repository,
// manage-dockerfile, docker-build or sti-build, and push.
package buildpod
