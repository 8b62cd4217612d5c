// Package differential compares the config layer with the real thing.
//
// Its tests unpack a base file system twice. In the first copy they run the real
// Ignition, started as ignition-apply in a chroot of that copy; over the second
// they lay the tar that pkg/configlayer made. Then both must hold the same tree:
// paths, types, modes, owners, link targets, hard links, contents. Where one
// refuses a config, the other must refuse it too.
//
// What is compared: configs of the project's own, generated ones (the seed is
// printed; MOB_DIFFERENTIAL_SEED repeats a run, MOB_DIFFERENTIAL_RUNS sets how
// many), and the MachineConfigs in MOB_TEST_DATA or ../shared/data beside the
// repository. MOB_TEST_BASE_TAR names the uncompressed tar of a real root file
// system to do it on as well; if that one has systemctl, the links that enable
// units are compared with those that systemctl itself makes.
//
// Ignition is built from the module in test/ignition, which needs a C compiler
// and the static libraries of libblkid (Debian: gcc libblkid-dev); or name a
// static binary in MOB_IGNITION. Owners need root, or a user with a range of
// sub-ids (the tests then start themselves in a user namespace by unshare).
//
// Meant differences are listed in docs/design/0003-config-layer.md.
package differential
