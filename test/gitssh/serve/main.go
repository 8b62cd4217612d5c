package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/machine-os-builder/machine-os-builder/test/gitssh"
)

func main() {
	address := flag.String("address", "127.0.0.1:0", "where to listen")
	root := flag.String("root", "", "folder of the repositories")
	flag.Parse()
	if err := serve(*address, *root); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(address, root string) error {
	private, signer, err := gitssh.NewKey()
	if err != nil {
		return err
	}
	server, err := gitssh.NewServer(address, root, signer.PublicKey())
	if err != nil {
		return err
	}
	defer server.Close()
	err = json.NewEncoder(os.Stdout).Encode(map[string]string{"address": server.Address, "privateKey": private, "knownHosts": server.KnownHosts()})
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
