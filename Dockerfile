# Salon as a container: docs/how-to/container.md. `make container` runs these same steps without Docker.
# Built from Debian 12 throughout, so that every stage has the same Python and the same C library.

# --- the pages -----------------------------------------------------------------------------------
FROM node:20-bookworm-slim AS pages
WORKDIR /build/web
COPY web/package.json web/package-lock.json ./
RUN npm ci --no-audit --no-fund --loglevel=error
COPY web ./
RUN npm run --silent build

# --- the packages --------------------------------------------------------------------------------
FROM debian:12-slim AS packages
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        ca-certificates python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
# pip stays in an environment of its own: the one that is shipped can't install anything
RUN python3 -m venv /opt/tools && python3 -m venv --without-pip /opt/salon
WORKDIR /build
COPY requirements.build.lock requirements.run.lock ./
RUN /opt/tools/bin/pip install -q --require-hashes --no-deps --only-binary :all: \
        -r requirements.build.lock \
    && /opt/tools/bin/pip --python /opt/salon/bin/python install -q --require-hashes --no-deps \
        --only-binary :all: -r requirements.run.lock
# eSpeak NG is GPL-3.0-or-later. VOICE=none leaves it out of the image.
ARG VOICE=espeak
RUN test "$VOICE" = espeak \
    || /opt/tools/bin/pip --python /opt/salon/bin/python uninstall -q -y espeakng-loader
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
COPY --from=pages /build/src/salon/web ./src/salon/web
RUN /opt/tools/bin/pip wheel -q --no-deps --no-build-isolation -w dist . \
    && /opt/tools/bin/pip --python /opt/salon/bin/python install -q --no-deps dist/salon-*.whl \
    && /opt/tools/bin/pip --python /opt/salon/bin/python check

# --- what runs -----------------------------------------------------------------------------------
FROM debian:12-slim AS salon
ARG VERSION=unreleased
LABEL org.opencontainers.image.title="Salon" \
      org.opencontainers.image.description="Live conversation between people and AI agents" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION"
RUN apt-get update -qq \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 10001 salon \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /data --shell /usr/sbin/nologin salon \
    && install -d -o 10001 -g 10001 -m 0750 /data
COPY --from=packages /opt/salon /opt/salon
COPY scripts/container/health.py /opt/salon/health.py
ARG VOICE=espeak
# Beyond loopback Salon demands SALON_API_KEY, which is given at the start, never built in.
ENV PATH=/opt/salon/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1 \
    SALON_HOST=0.0.0.0 \
    SALON_PORT=8000 \
    SALON_DATA_DIR=/data \
    SALON_LOG_FORMAT=json \
    SALON_TTS=$VOICE
WORKDIR /data
USER 10001:10001
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "/opt/salon/health.py"]
ENTRYPOINT ["salon"]
CMD ["serve"]
