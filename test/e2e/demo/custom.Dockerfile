FROM $PLAIN_IMAGE AS build
RUN printf '#!/bin/sh\necho hello from the image\n' > /hello && chmod 0755 /hello

FROM configs AS final
COPY --from=build /hello /usr/bin/hello
RUN <<EOF
  set -e
  useradd --system --shell /usr/sbin/nologin greeter
  systemctl mask apt-daily.service
  hello | tee /etc/greeting
EOF
