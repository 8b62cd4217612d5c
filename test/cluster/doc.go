// Command cluster runs a real single-node Kubernetes on this machine, as root, for the project's demo, end-to-end tests and
// benchmarks: etcd, API server, controller manager, scheduler, containerd, kubelet, a pod network and two registries with TLS.
// Everything is built here from Go modules and Debian packages; nothing is pulled from a registry.
//
//	go -C test/cluster run . up                 start, or make sure that it runs
//	go -C test/cluster run . down               stop, and leave nothing on the machine
//	go -C test/cluster run . status             what runs
//	go -C test/cluster run . env                variables for eval in a shell
//	go -C test/cluster run . images             build the product's images from bin/ and put them on the node
//	go -C test/cluster run . load-image X       put an archive, or an image of the program's storage, on the node
//	go -C test/cluster run . push-image X R     push an image of the storage to a registry as R (with --auth: to the second one)
//	go -C test/cluster run . kubeconfig         path of the administrator's kubeconfig
//	go -C test/cluster run . binaries [names]   build programs if need be, print their directory (needs no root)
package main
