// Package configlayer turns a MachineConfig into the layer that lays it over a
// base image: the tar a base image's root file system needs so that it is what
// ignition-apply would have made of it inside that image.
//
//	layers of the base ─ TreeBuilder ─> Tree ─ Encode/DecodeTree ─> kept artifact
//	                                     │
//	MachineConfig ─ pkg/ignition ─> Build ─> Layer ─ WriteTar ─> tar
//
// A Tree is the index of a base image's file system: every path with its type,
// mode, owner and link, and the few contents that decisions depend on. Build
// replays Ignition's files stage on a view of that tree, in memory, one
// file system operation after the other with the semantics of the kernel's; the
// layer is the difference between the view and the base. That is why a path
// under a link of the base lands where the link points, why append and hard
// links of base files work, and why the tar holds nothing that did not change
// (except parent directories, with the base's own attributes: some appliers make
// up missing ones).
//
// The package is pure: no clock, no network, no files. What it must read of the
// base and fetch from http(s) sources comes through Deps. Same input, same bytes:
// entries are sorted, parents first, with modification time 0 and numeric owners.
//
// Where the result differs from Ignition's, and why, is listed in
// docs/design/0003-config-layer.md.
package configlayer
