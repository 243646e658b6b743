# docker build -t kinetail:0.1.0 .
#
# For the architecture of the machine that builds, or with `--platform linux/arm64` for another. Needs BuildKit, which docker build has
# been since version 23.
#
# For a registry: both architectures, and with each image a list of what is in it (SBOM) and how it was built. The binary
# says itself which crates it was made of, which is where BuildKit's scanner, syft, trivy and grype have them from:
#   docker buildx build --platform linux/amd64,linux/arm64 --sbom=true --provenance=mode=max \
#     --build-arg REVISION=$(git rev-parse HEAD) -t REGISTRY/kinetail:0.1.0 --push .
#
# Dependencies are those of Cargo.lock, and Rust's version stands here. The image that the result goes into has no versions: its tag
# moves with the security updates of Debian 13. For images that can be rebuilt to the byte, name both base images by digest
# (`docker buildx imagetools inspect IMAGE`), set SOURCE_DATE_EPOCH, and build each on a machine of its architecture, where nothing
# is installed beside the base.

# The compiler runs on the machine that builds, whatever machine the image is for: nothing is emulated.
FROM --platform=$BUILDPLATFORM rust:1.95.0-slim-trixie AS rust
# Writes the list of crates into the binary.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    cargo install --locked --version 0.7.7 cargo-auditable

# What Rust and Debian call each architecture, and Debian's C compiler and libc for it on a machine of another one.
FROM rust AS for-amd64
ENV CARGO_BUILD_TARGET=x86_64-unknown-linux-gnu \
    CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=x86_64-linux-gnu-gcc \
    CROSS_PACKAGES="gcc-x86-64-linux-gnu libc6-dev-amd64-cross"
FROM rust AS for-arm64
ENV CARGO_BUILD_TARGET=aarch64-unknown-linux-gnu \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    CROSS_PACKAGES="gcc-aarch64-linux-gnu libc6-dev-arm64-cross"

# hadolint ignore=DL3006
FROM for-$TARGETARCH AS build
ARG BUILDARCH TARGETARCH
# Versions are the base image's Debian's, which within a stable release changes them for the sake of security only.
# hadolint ignore=DL3008,SC2086
RUN if [ "$TARGETARCH" != "$BUILDARCH" ]; then \
        rustup target add "$CARGO_BUILD_TARGET" \
        && apt-get update \
        && apt-get install -y --no-install-recommends $CROSS_PACKAGES \
        && rm -rf /var/lib/apt/lists/*; \
    fi
WORKDIR /src
COPY . .
# The TLS library has parts in C. The caches outlive the layer, not the build's result, which therefore moves out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo auditable build --locked --profile dist --bin kinetail \
    && install -D -m 0755 "target/$CARGO_BUILD_TARGET/dist/kinetail" /image/usr/bin/kinetail \
    && install -D -m 0644 LICENSE /image/usr/share/doc/kinetail/LICENSE \
    && install -d -m 0700 /image/var/lib/kinetail

# glibc, libgcc, CA certificates and a user without a name in any group of the host: no shell, no packages.
FROM gcr.io/distroless/cc-debian13:nonroot
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
