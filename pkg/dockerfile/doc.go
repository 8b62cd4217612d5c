// Package dockerfile reads the custom Dockerfiles that administrators write,
// checks them before anything is started, and renders the complete Dockerfile
// of a build.
//
// A complete Dockerfile is the custom text, byte for byte, with one block put
// in before its first FROM:
//
//	FROM <base image> AS configs
//	ADD machine-config.tar /
//
// and, where the MachineConfig asks for packages,
//
//	RUN --mount=type=bind,from=<extensions image>,… <<'END-OF-PACKAGES'
//	…
//	ADD machine-config.tar /
//
// Where the config is laid on what the steps leave, the lines with ADD are not
// there.
//
// The block stands before the first FROM and not at the top, because parser directives must stay
// the first lines, and because an ARG for use in FROM must stand before every
// stage. The last stage of the custom text is FROM configs AS final.
//
// The package is pure: text in, values out.
package dockerfile
