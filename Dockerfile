# The images of groot-ray: `data` (CPU: download, conversion, the Jobs) and `train` (finetuning, evaluation; CUDA comes
# with torch's wheels).
#
#   make images                                        both, with docker or podman (CONTAINER_TOOL=...)
#   docker buildx bake -f images/docker-bake.hcl       the same with bake
#
# Nothing of the building machine stays in an image. Build arguments:
#   BASE_IMAGE       a slim Debian with Python 3.11-3.13 (python:3.11-slim)
#   PIP_INDEX_URL    package index
#   TORCH_INDEX_URL  index of torch's build (https://download.pytorch.org/whl/cpu ...)
#   TORCH            torch's requirement. The lock has none, since its build depends on the machine; a plain version also
#                    accepts +cpu or +cu128.
# Build context: wheels, a folder of wheels (--build-context wheels=FOLDER).
# Secrets: pip_conf, a pip.conf with credentials for the index; ca, a CA bundle.
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS base
# KubeRay's probes call wget.
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends wget ca-certificates > /dev/null \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* \
 && groupadd --gid 1000 groot && useradd --uid 1000 --gid 1000 --home-dir /tmp --no-create-home --shell /bin/bash groot
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 RAY_USAGE_STATS_ENABLED=0 MPLCONFIGDIR=/tmp/matplotlib

# --build-context wheels=FOLDER replaces this stage. Later stages copy it: some podman versions mount a cached stage empty.
FROM scratch AS wheels
COPY images/NOTICE.md /

# --- dependencies: one lock for all targets ---------------------------------------------------------------------------
FROM base AS dependencies
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PYTHONDONTWRITEBYTECODE=
RUN python3 -m venv /opt/venv
COPY requirements.lock images/data.txt images/train.txt /build/
COPY --from=wheels / /wheels/
RUN --mount=type=secret,id=pip_conf,target=/etc/xdg/pip/pip.conf,required=false --mount=type=secret,id=ca,required=false \
    if [ -f /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi; \
    pip install --quiet --find-links /wheels -c /build/requirements.lock -r /build/data.txt \
 && find /opt/venv -depth -type d \( -name tests -o -name test \) -path '*/site-packages/*' ! -path '*/ray/*' ! -path '*/torch/*' -exec rm -rf {} + \
 && rm -rf /opt/venv/lib/python3*/site-packages/ray/jars /opt/venv/lib/python3*/site-packages/ray/rllib

FROM dependencies AS dependencies-train
ARG TORCH_INDEX_URL
ARG TORCH=torch==2.13.0
RUN --mount=type=secret,id=pip_conf,target=/etc/xdg/pip/pip.conf,required=false --mount=type=secret,id=ca,required=false \
    if [ -f /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi; \
    pip install --quiet --find-links /wheels ${TORCH_INDEX_URL:+--extra-index-url "$TORCH_INDEX_URL"} -c /build/requirements.lock "$TORCH" \
 && pip install --quiet --find-links /wheels -c /build/requirements.lock -r /build/train.txt

# --- the package, as a wheel ------------------------------------------------------------------------------------------
FROM dependencies AS package
RUN --mount=type=secret,id=pip_conf,target=/etc/xdg/pip/pip.conf,required=false --mount=type=secret,id=ca,required=false \
    if [ -f /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi; \
    python3 -m venv /opt/builder && /opt/builder/bin/pip install --quiet --find-links /wheels "hatchling>=1.24"
COPY pyproject.toml README.md LICENSE /build/source/
COPY groot_ray /build/source/groot_ray
RUN /opt/builder/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /build/dist /build/source

# --- final stages -----------------------------------------------------------------------------------------------------
FROM base AS data
ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="groot-ray data" \
      org.opencontainers.image.description="GR00T experiments on Ray: download, conversion, Kubernetes Jobs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=dependencies /opt/venv /opt/venv
COPY --from=package /build/dist /opt/groot-ray/dist
RUN pip install --quiet --no-deps --no-index --no-cache-dir /opt/groot-ray/dist/*.whl \
 && python -m groot_ray.cluster.health --write /opt/groot-ray/versions.json
COPY images/NOTICE.md /opt/groot-ray/
USER 1000:1000
WORKDIR /tmp
HEALTHCHECK --interval=30s --timeout=20s CMD ["python", "-m", "groot_ray.cluster.health"]
CMD ["groot-ray", "--help"]

FROM base AS train
ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="groot-ray train" \
      org.opencontainers.image.description="GR00T experiments on Ray: finetuning and evaluation" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# torch.compile needs a C compiler and Python's headers at run time.
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends gcc libc6-dev > /dev/null \
 && if [ ! -e "$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ]; then \
      DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-dev > /dev/null; fi \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*
COPY --from=dependencies-train /opt/venv /opt/venv
COPY --from=package /build/dist /opt/groot-ray/dist
RUN pip install --quiet --no-deps --no-index --no-cache-dir /opt/groot-ray/dist/*.whl \
 && python -m groot_ray.cluster.health --write /opt/groot-ray/versions.json
COPY images/NOTICE.md /opt/groot-ray/
USER 1000:1000
WORKDIR /tmp
ENV TRITON_CACHE_DIR=/tmp/triton TORCHINDUCTOR_CACHE_DIR=/tmp/inductor
HEALTHCHECK --interval=30s --timeout=20s CMD ["python", "-m", "groot_ray.cluster.health"]
CMD ["groot-ray", "--help"]
