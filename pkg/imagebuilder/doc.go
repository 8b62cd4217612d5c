// Package imagebuilder is the work that os-image-builder does inside a build
// pod. It has no Kubernetes client: its inputs are mounted files and flags, its
// outcome a buildspec.Result.
//
// Append makes an image in which nothing has to run: the config layer is put on
// top of the base through the registry's API, and the base is not pulled.
//
// Prepare, Build and Push make one from a custom Dockerfile, each in a container
// of its own. Prepare pulls, with credentials, into a store on a shared volume,
// and writes the config layer and the Dockerfile beside it. Build runs the steps
// of the user with buildah and has no credential of a registry, in the environment
// or in any file it can reach. Push runs nothing of the user's and talks to the
// registry again. Where the config comes last, what the steps left is kept, and
// Push lays the config on that. Where a build has a pod for each architecture, the last Push joins their
// images by an index.
//
// Where what single steps leave is kept, Prepare puts into the store what this build can
// use of it, Build hands over what the steps left that ran, and Push keeps that, for this
// pool and architecture alone.
//
// Where a volume is given for it, Prepare keeps base and extensions image there, unpacked,
// and Build reads them beside its own store.
//
// What the config layer must know of the base's file system is an index, kept as
// an artifact beside the images; it is learned by streaming the base once.
package imagebuilder
