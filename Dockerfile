# Three images, one file:
#   controller  the Deployments' image: static binaries, nothing else
#   builder     the image of build pods: buildah, and os-image-builder on top
#   git         the same with git and ssh, for the container that fetches a Build's source
# The binaries come prebuilt from bin/ ("make build"), so no target needs a Go toolchain or a network for them.
ARG BUILDER_BASE=docker.io/library/debian:trixie-slim

FROM scratch AS controller
COPY bin/build-executor bin/convert-ignition bin/machine-os-builder /
USER 65532:65532
ENTRYPOINT ["/machine-os-builder"]

FROM ${BUILDER_BASE} AS packages
# The exact source version that was tested; raising it is a change to review. Only Debian's rebuild number (+bN) is left open,
# since a suite keeps just the newest of those.
ARG BUILDAH_VERSION=1.39.3+ds1-1+b*
# Debian's package brings 90 MB of test programs in /usr/libexec/buildah, which go at once.
# newuidmap and newgidmap get file capabilities in place of the set-uid bit: in a container without CAP_SYS_ADMIN the bit alone
# cannot write another user's range into a user namespace. The sub-id ranges cover what a container of its own user may map.
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      "buildah=${BUILDAH_VERSION}" ca-certificates libcap2-bin netavark uidmap \
 && chmod u-s /usr/bin/newuidmap /usr/bin/newgidmap \
 && setcap cap_setuid+ep /usr/bin/newuidmap \
 && setcap cap_setgid+ep /usr/bin/newgidmap \
 && apt-get purge -y libcap2-bin \
 && groupadd --gid 1000 builder \
 && useradd --uid 1000 --gid 1000 --no-create-home --home-dir /home/builder --shell /usr/sbin/nologin builder \
 && install -d -o 1000 -g 1000 /home/builder /home/builder/.config /home/builder/.config/containers \
 && printf 'builder:1:999\nbuilder:1001:64535\n' > /etc/subuid \
 && cp /etc/subuid /etc/subgid \
 && rm -rf /usr/libexec/buildah /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/log/apt /var/log/dpkg.log
ENV HOME=/home/builder BUILDAH_ISOLATION=chroot
USER 1000:1000
WORKDIR /home/builder
ENTRYPOINT ["/usr/bin/os-image-builder"]

FROM packages AS git
USER 0:0
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends git openssh-client \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/* /var/log/apt /var/log/dpkg.log
USER 1000:1000
# Last, here and below, so that a change of the program rebuilds nothing else.
COPY bin/os-image-builder /usr/bin/os-image-builder

FROM packages AS builder
COPY bin/os-image-builder /usr/bin/os-image-builder
