// Command os-image-builder makes an image inside a build pod. Its commands are the
// steps of package imagebuilder, for pools, and of package sourcebuild, for Build
// objects, one for each container of the pod; each writes a buildspec.Result or a
// buildreport.Report as its container's termination message, and exits with 0 or 1.
package main
