# docker build -t kinetail:0.1.0 .
#
# For a registry: both architectures, and with each image a list of what is in it (SBOM) and how it was built. The binary
# says itself which crates it was made of, which is where BuildKit's scanner, syft, trivy and grype have them from:
#   docker buildx build --platform linux/amd64,linux/arm64 --sbom=true --provenance=mode=max \
#     --build-arg REVISION=$(git rev-parse HEAD) -t REGISTRY/kinetail:0.1.0 --push .
#
# Dependencies are those of Cargo.lock. For images that can be rebuilt to the byte, name the base images by digest
# (`docker buildx imagetools inspect IMAGE`) and set SOURCE_DATE_EPOCH.

FROM rust:1.95.0-slim-bookworm AS build
# Writes the list of crates into the binary.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    cargo install --locked --version 0.7.7 cargo-auditable
WORKDIR /src
COPY . .
# The image has the C compiler that the TLS library is built with. The caches outlive the layer, not the build's
# result, which therefore moves out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo auditable build --locked --profile dist --bin kinetail \
    && install -D -m 0755 target/dist/kinetail /image/usr/bin/kinetail \
    && install -D -m 0644 LICENSE /image/usr/share/doc/kinetail/LICENSE \
    && install -d -m 0700 /image/var/lib/kinetail

# glibc, libgcc, CA certificates and a user without a name in any group of the host: no shell, no packages.
FROM gcr.io/distroless/cc-debian12:nonroot
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="kinetail" \
      org.opencontainers.image.description="A node-level log shipper for Amazon Data Firehose and Amazon Kinesis Data Streams" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build --chown=65532:65532 /image/var/lib/kinetail /var/lib/kinetail
COPY --from=build /image/usr /usr
# The DaemonSet runs it as user 0, which /var/log/pods asks for; everything else has no need to.
USER 65532:65532
ENTRYPOINT ["/usr/bin/kinetail"]
CMD ["run", "--config", "/etc/kinetail/kinetail.yaml"]
