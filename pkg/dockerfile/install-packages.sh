# Installs and removes what the three lists above say, in one transaction.
set -eu
export LC_ALL=C.UTF-8
content=/run/os-extensions/usr/share/rpm-ostree/extensions
# Empty and gone after this step, unless the steps are given a directory of repositories.
repos=/etc/yum.repos.d
own=$repos/.os-extensions

has() { command -v "$1" >/dev/null; }

installed() { rpm --query --quiet "$1" >/dev/null 2>&1; }

# files lists those of a package in the extensions image.
files() {
  ls -R "$content" | while read -r file; do
    case $file in "$1"-[0-9]*.rpm) printf ' %s' "$file" ;; esac
  done
}

# missing says of each package that is not installed why, where that can be seen. The rest is said by
# the program that failed.
missing() {
  for package in $add; do
    installed "$package" && continue
    found=$(files "$package")
    case "$found " in
      ' ') echo "packages: no package $package" ;;
      *".$(uname -m).rpm "* | *'.noarch.rpm '*) [ "$status" -ne 0 ] || echo "packages: $package is there and was not installed" ;;
      *) echo "packages: this is $(uname -m), and there is only$found" ;;
    esac
  done
}

transaction() {
  if has rpm-ostree; then
    set --
    for package in $add; do set -- "$@" "--install=$package"; done
    if [ -z "$drop" ]; then
      rpm-ostree install $add || return
    else
      # Lets a kernel's scripts know that they run in no booted system; newer versions know by themselves.
      rpm-ostree cliwrap install-to-root / || true
      rpm-ostree override remove $drop "$@" || return
    fi
    rpm-ostree cleanup --repomd
    return
  fi
  dnf=dnf
  ! has dnf5 || dnf=dnf5
  set -- -y --setopt=plugins=0 --setopt=cachedir=$own/cache --setopt=logdir=$own/log --setopt=persistdir=$own/state
  # The node may run the very kernel that the image is to do without.
  set -- "$@" --setopt=protect_running_kernel=0 --setopt=clean_requirements_on_remove=0
  # There are more directories of repositories, and dnf.conf can have some too.
  set -- "$@" --setopt=reposdir=$repos --repo=os-extensions
  if [ -z "$drop" ]; then
    $dnf "$@" install $add
  elif [ $dnf = dnf5 ]; then
    dnf5 "$@" do --action=remove $drop ${add:+--action=install $add}
  else
    # Without a line "run", since that hides how the transaction ended.
    printf '%s\n' "remove$drop" "${add:+install$add}" >$own/transaction
    dnf "$@" shell $own/transaction
  fi
}

[ -d "$content/repodata" ] || { echo "packages: no repository at /usr/share/rpm-ostree/extensions"; exit 1; }
has rpm && { has rpm-ostree || has dnf || has dnf5; } || { echo "packages: the base image has neither rpm-ostree nor dnf"; exit 1; }
restore() {
  rm -rf $own $repos/os-extensions.repo
  for file in $repos/*.repo.off; do [ ! -e "$file" ] || mv "$file" "${file%.off}"; done
}
trap restore EXIT
# No other repository is used.
for file in $repos/*.repo; do [ ! -e "$file" ] || mv "$file" "$file.off"; done
mkdir -p $own
printf '[os-extensions]\nname=the extensions image\nbaseurl=file://%s\nenabled=1\ngpgcheck=0\n' "$content" >$repos/os-extensions.repo

add='' drop=''
for package in $install; do installed "$package" || add="$add $package"; done
for package in $optional; do
  installed "$package" || [ -z "$(files "$package")" ] || add="$add $package"
done
for package in $remove; do ! installed "$package" || drop="$drop $package"; done
[ -n "$add$drop" ] || { echo "all packages are in the base image"; exit 0; }

status=0
transaction || status=$?
if [ "$status" -ne 0 ]; then
  missing
  exit "$status"
fi
# dnf's shell passes over packages that it does not know.
for package in $add; do
  installed "$package" || { missing; exit 1; }
done
for package in $remove; do
  ! installed "$package" || { echo "packages: $package was not removed"; status=1; }
done
exit "$status"
