// Package backend says what a builder back-end is: something that can start an
// image build in the cluster, tell how it stands, and remove it. Back-ends
// decide nothing; package osbuild does.
package backend
