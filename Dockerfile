# A worker (`ckpt worker`), or any other command of `ckpt`: Debian slim, production dependencies only, not root.
ARG NODE_IMAGE=node:24.21.0-bookworm-slim

FROM ${NODE_IMAGE} AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# Not `npm ci`: see scripts/setup.mjs.
RUN npm install --no-save --omit=dev --loglevel=error
# The SDK brings its native part for five platforms; declarations and source maps are for developers.
RUN find node_modules/@temporalio/core-bridge/releases -mindepth 1 -maxdepth 1 ! -name "$(uname -m)-unknown-linux-gnu" -exec rm -r {} + \
 && find node_modules -type f \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' \) -delete

FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc tsconfig.json ./
COPY scripts scripts
COPY src src
COPY activities activities
COPY workflows workflows
RUN node scripts/setup.mjs

FROM ${NODE_IMAGE}
LABEL org.opencontainers.image.title="checkpoint-pipeline" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV NODE_ENV=production \
    CKPT_WORKSPACE=/var/lib/ckpt/workspace \
    XDG_STATE_HOME=/var/lib/ckpt/state \
    XDG_CACHE_HOME=/var/lib/ckpt/cache \
    CKPT_HEALTH_PORT=8081
WORKDIR /app
COPY package.json LICENSE ./
COPY bin bin
COPY completions completions
COPY --from=dependencies /app/node_modules node_modules
COPY --from=build /app/dist dist
# Open to all, as /tmp is: a container may run as any user (`--user`, CKPT_USER of docker-compose.yml).
RUN ln -s /app/bin/ckpt.js /usr/local/bin/ckpt && install -d -o node -g node -m 1777 /var/lib/ckpt /data
USER node
WORKDIR /data
VOLUME ["/data", "/var/lib/ckpt"]
# Healthy: the worker says that it takes work, and reaches its server.
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s --retries=3 CMD ["ckpt", "worker", "--check"]
# On SIGTERM a worker hands its work over within 10 seconds; give it 30.
ENTRYPOINT ["ckpt"]
CMD ["worker"]
