// Package sourcebuild is what happens of a Build object (build.openshift.io/v1) inside
// its pod. It has no Kubernetes client: its inputs are the Build as a value, mounted
// files and flags, its outcome a buildreport.Report.
//
// Fetch clones the git repository. Prepare lays all other inputs beside it, writes the
// Dockerfile that is built, its author's or one of source-to-image, and pulls every
// image that this names. Build runs it with buildah and has no credential of a
// registry. Push runs nothing of the user's and has the one to push with.
//
// Fetch and Prepare write a directory that Build and Push can only read.
package sourcebuild
