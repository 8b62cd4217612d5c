// Package s2i compares pkg/s2i with the published library
// github.com/openshift/source-to-image, which is what OpenShift generates
// Dockerfiles with.
//
// Its tests give both the same source, builder image and settings, and compare the
// Dockerfiles instruction by instruction, as a builder understands them, and the
// files of the build contexts. What is compared: a table, and generated inputs (the
// seed is printed; MOB_DIFFERENTIAL_SEED repeats a run, MOB_DIFFERENTIAL_RUNS sets
// how many). Meant differences are tests of their own, and are listed in
// docs/design/0020-source-to-image.md.
//
// It is a module of its own, so that the library and the container engine that it
// links are no dependencies of the product.
package s2i
