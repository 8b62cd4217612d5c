# Builds what prepare left, on the two storage drivers in the order of $2, and
# prints the milliseconds that each build took. Each round ($1) has a vfs store
# of its own; the overlay store is prepare's. Pulling is not counted.
set -eu
work=/var/lib/os-image-builder/work storage=/var/lib/os-image-builder/storage
export XDG_RUNTIME_DIR=/tmp/run TMPDIR=$storage/tmp XDG_DATA_HOME=$storage/data BUILDAH_ISOLATION=chroot
export SSL_CERT_FILE=/run/os-image-builder/ca/service-ca.crt
mkdir -p -m 700 "$XDG_RUNTIME_DIR"
base=$(sed -n 's/^FROM \([^ ]*\) AS configs$/\1/p' "$work/Dockerfile")

on() {
  local root=$storage/root run=$storage/run driver=$1
  shift
  if [ "$driver" = vfs ]; then root=$storage/vfs-$round run=$storage/vfs-$round-run; fi
  buildah --root "$root" --runroot "$run" --storage-driver "$driver" "$@" >/tmp/log 2>&1 || { cat /tmp/log >&2; exit 1; }
}

round=$1
on vfs pull --quiet "docker://$base"
for driver in $2; do
  begin=$(date +%s%N)
  on "$driver" build --pull=never --isolation chroot --layers=false --format oci --file "$work/Dockerfile" --tag localhost/bench:latest "$work/context"
  echo "$driver" $((($(date +%s%N) - begin) / 1000000))
done
on overlay rmi localhost/bench:latest
