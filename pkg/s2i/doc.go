// Package s2i turns a Build with the Source strategy (source-to-image) into a
// container build: from the source, what the builder image says of itself and the
// Build's settings to a Dockerfile and the files of its build context.
//
// What it takes:
//
//	Downloads  which scripts have to be fetched; the caller fetches them
//	Plan       the Dockerfile and the files; the caller lays them out and builds
//
// The context holds upload/src, the source without what .s2iignore names;
// upload/scripts, the scripts that take the place of the builder image's; and
// upload/injections, a folder for each Secret and ConfigMap.
//
// The Dockerfile copies these into the builder image, runs assemble as its user,
// removes the Secrets' files, and makes run the image's command. An incremental
// build has a stage before that, in which the previous image's save-artifacts
// writes a tar. A Secret is out of the image only where the build commits one
// layer at its end (buildah: --layers=false).
//
// It follows what OpenShift generates, instruction by instruction; test/s2i holds
// it to the published library, and docs/design/0020-source-to-image.md says where the two
// differ on purpose.
//
// The package is pure: it reads the fs.FS that it is given and nothing else.
package s2i
