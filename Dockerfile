# SPDX-License-Identifier: MIT
FROM docker.io/library/debian:trixie-slim AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev pkg-config cmake ninja-build libwebsockets-dev \
        libwebsockets-evlib-uv libuv1-dev libevent-dev libhttp-parser-dev libhiredis-dev libjansson-dev libsodium-dev \
        uthash-dev
WORKDIR /src
COPY . .
RUN cmake --preset release \
    && cmake --build --preset release \
    && cmake --install build --prefix /usr/local --strip

FROM docker.io/library/debian:trixie-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends libwebsockets19t64 libwebsockets-evlib-uv libuv1t64 \
        libevent-core-2.1-7t64 libevent-extra-2.1-7t64 libhttp-parser2.9 libhiredis1.1.0 libjansson4 libsodium23 \
        libssl3t64 ca-certificates \
    && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/*
COPY --from=build /usr/local/bin/signalbox-worker /usr/local/bin/

ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="signalbox" \
    org.opencontainers.image.description="Signaling and rendezvous server, scaled on Redis" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.revision="$REVISION"

# It writes nothing. Redis is another container: REDIS_URL says where.
USER 10001:10001
EXPOSE 8080
ENTRYPOINT ["signalbox-worker"]
