# The gateway with its local model. Setup is the same as on any machine: scripts/deps.
FROM rust:1.95-bookworm AS build
WORKDIR /callbridge
ENV CALLBRIDGE_CACHE=/cache
COPY scripts scripts
RUN scripts/deps
COPY . .
# Four fifths of the program is what profilers want to know of it.
RUN cargo build --release --locked --target-dir /cache/target \
    && strip --strip-debug /cache/target/release/callbridge

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates flite \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --create-home --home-dir /var/lib/callbridge callbridge
COPY --from=build /cache/target/release/callbridge /usr/local/bin/callbridge
COPY --from=build /cache/models /usr/share/callbridge/models
COPY LICENSE-MIT LICENSE-APACHE THIRD_PARTY.md /usr/share/doc/callbridge/
ENV CALLBRIDGE_CACHE=/usr/share/callbridge \
    CALLBRIDGE_DATABASE=sqlite:/var/lib/callbridge/callbridge.db
USER callbridge
WORKDIR /var/lib/callbridge
VOLUME /var/lib/callbridge
# It asks the address of the settings, so give those as variables and not as flags.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 \
    CMD ["callbridge", "health"]
ENTRYPOINT ["callbridge"]
CMD ["serve"]
