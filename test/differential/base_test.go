package differential

import (
	"archive/tar"
	"bytes"
	"strings"
	"testing"
)

// node is an entry of the base that the tests make themselves.
type node struct {
	path     string
	flag     byte
	mode     int64
	uid, gid int
	text     string // content, or the target of a link
}

func dir(path string, mode int64, owners ...int) node {
	return owned(node{path: path, flag: tar.TypeDir, mode: mode}, owners)
}

func file(path string, mode int64, text string, owners ...int) node {
	return owned(node{path: path, flag: tar.TypeReg, mode: mode, text: text}, owners)
}

func symlink(path, target string) node {
	return node{path: path, flag: tar.TypeSymlink, mode: 0o777, text: target}
}

func hardlink(path, target string) node { return node{path: path, flag: tar.TypeLink, text: target} }

func owned(n node, owners []int) node {
	if len(owners) == 2 {
		n.uid, n.gid = owners[0], owners[1]
	}
	return n
}

// smallBase is a root file system with what image-based systems have: links for
// directories, chains of them, ones that lead nowhere or out of the root, setgid
// and private directories, hard links, users, units.
var smallBase = []node{
	dir("bin", 0o755), dir("dev", 0o755), dir("etc", 0o755), dir("proc", 0o555), dir("root", 0o700),
	dir("tmp", 0o1777), dir("usr", 0o755), dir("var", 0o755), dir("run", 0o755),
	symlink("lib", "usr/lib"), symlink("sbin", "usr/sbin"), symlink("opt", "var/opt"),
	dir("usr/bin", 0o755), dir("usr/lib", 0o755), dir("usr/sbin", 0o755), dir("usr/share", 0o755),
	dir("usr/lib/systemd", 0o755), dir("usr/lib/systemd/system", 0o755), dir("usr/libexec", 0o711, 5, 6),
	symlink("usr/local", "../var/usrlocal"), dir("var/usrlocal", 0o755), dir("var/usrlocal/bin", 0o2775, 0, 50),
	dir("var/lib", 0o755), dir("var/lib/private", 0o700), dir("var/mail", 0o2775, 0, 8), dir("var/home", 0o755),
	symlink("home", "/var/home"), symlink("srv", "var/srv"), symlink("mnt", "media"), symlink("media", "run/media"),
	symlink("loop", "loop2"), symlink("loop2", "loop"), symlink("outside", "../../../../var/lib"),
	symlink("chain", "chain2"), symlink("chain2", "/chain3"), symlink("chain3", "var/home"),
	symlink("usr/share/up", "../../etc"), symlink("tofile", "etc/hostname"),
	file("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\nbob:x:1001:1002:Bob:/home/bob:/bin/sh\ndaemon:x:1:1::/:/bin/false\n"),
	file("etc/group", 0o644, "root:x:0:\ndaemon:x:1:\nbob:x:1002:\nmail:x:8:\nwheel:x:10:bob\n"),
	file("etc/nsswitch.conf", 0o644, "passwd: files\ngroup: files\n"),
	// the reference opens it before it fetches a config that another refers to
	file("dev/urandom", 0o666, strings.Repeat("0123456789abcdef", 1<<12)),
	file("etc/hostname", 0o644, "base\n"), file("etc/motd", 0o644, "base\n"), file("etc/secret", 0o600, "s3cret\n", 1001, 1002),
	file("usr/bin/tool", 0o4755, "#!/bin/sh\n"), file("usr/bin/sgid", 0o2755, "#!/bin/sh\n", 0, 8),
	hardlink("usr/bin/tool-alias", "usr/bin/tool"), hardlink("usr/libexec/tool", "usr/bin/tool"),
	dir("etc/conf.d", 0o755), file("etc/conf.d/a", 0o644, "a\n"), file("etc/conf.d/b", 0o640, "b\n", 0, 10),
	dir("etc/conf.d/deep", 0o750, 3, 4), file("etc/conf.d/deep/c", 0o644, "c\n"),
	symlink("etc/localtime", "../usr/share/zone"), symlink("etc/os-release", "../usr/lib/os-release"),
	file("usr/lib/os-release", 0o644, "ID=test\n"),
	dir("etc/systemd", 0o755), dir("etc/systemd/system", 0o755), dir("etc/systemd/system/multi-user.target.wants", 0o755),
	file("usr/lib/systemd/system/sshd.service", 0o644, "[Service]\nExecStart=/x\n[Install]\nWantedBy=multi-user.target\n"),
	file("usr/lib/systemd/system/getty@.service", 0o644, "[Service]\nExecStart=/x\n[Install]\nWantedBy=getty.target\nDefaultInstance=tty1\n"),
	symlink("etc/systemd/system/masked.service", "/dev/null"),
	symlink("etc/systemd/system/multi-user.target.wants/sshd.service", "/usr/lib/systemd/system/sshd.service"),
}

// tarOf writes nodes as a tar.
func tarOf(t testing.TB, nodes []node) []byte {
	t.Helper()
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	for _, n := range nodes {
		header := tar.Header{Typeflag: n.flag, Name: n.path, Mode: n.mode, Uid: n.uid, Gid: n.gid}
		switch n.flag {
		case tar.TypeReg:
			header.Size = int64(len(n.text))
		case tar.TypeSymlink, tar.TypeLink:
			header.Linkname = n.text
		}
		if err := archive.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
		if n.flag == tar.TypeReg {
			if _, err := archive.Write([]byte(n.text)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
