# One image per service: `docker build --target scorer --tag connected-cars/scorer:0.2.0 .` (buildah bud works the same).
# The base image is an argument: any Debian or Ubuntu with Python 3.11 to 3.13 and venv. `make cluster` builds one
# with debootstrap, so that it needs no image registry.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS base
# A user without rights. Kubernetes needs its number to verify that it is not root.
RUN echo 'service:x:10001:10001::/nonexistent:/usr/sbin/nologin' >>/etc/passwd && \
    echo 'service:x:10001:' >>/etc/group
# The root file system is read-only, so Python must not write byte code.
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app

# The requirements of each service from pyproject.toml. In a stage of its own and with a fixed file date, so that an
# unrelated change of pyproject.toml does not download TensorFlow again.
FROM base AS needs
COPY pyproject.toml constraints.txt /needs/
RUN cd /needs && python3 -c 'import pathlib, tomllib; \
project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
[pathlib.Path(f"{service}.txt").write_text("\n".join(project["dependencies"] + needs) + "\n") \
 for service, needs in project["optional-dependencies"].items()]' && \
    touch --date=@0 /needs/*

FROM base AS libraries
# pip stays outside of the environment that is copied into the images.
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/venv
# Path of the certificates of a company's proxy, for pip.
ARG PIP_CERT

FROM libraries AS simulator-libraries
COPY --from=needs /needs/constraints.txt /needs/simulator.txt /needs/
RUN /opt/pip/bin/pip --python /opt/venv/bin/python install --no-cache-dir -c /needs/constraints.txt -r /needs/simulator.txt

FROM libraries AS bridge-libraries
COPY --from=needs /needs/constraints.txt /needs/bridge.txt /needs/
RUN /opt/pip/bin/pip --python /opt/venv/bin/python install --no-cache-dir -c /needs/constraints.txt -r /needs/bridge.txt

FROM libraries AS scorer-libraries
COPY --from=needs /needs/constraints.txt /needs/scorer.txt /needs/
RUN /opt/pip/bin/pip --python /opt/venv/bin/python install --no-cache-dir -c /needs/constraints.txt -r /needs/scorer.txt

FROM libraries AS trainer-libraries
# With `launch`, which starts the next training from a pod.
COPY --from=needs /needs/constraints.txt /needs/trainer.txt /needs/launch.txt /needs/
RUN /opt/pip/bin/pip --python /opt/venv/bin/python install --no-cache-dir -c /needs/constraints.txt \
    -r /needs/trainer.txt -r /needs/launch.txt

# The version comes last in each image, so that all layers above are shared between versions.

FROM base AS simulator
COPY --from=simulator-libraries /opt/venv /opt/venv
COPY contract contract
COPY plumbing plumbing
COPY simulator simulator
RUN python3 -m compileall -q /app
USER 10001:10001
ENTRYPOINT ["python", "-m", "simulator"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.version=${VERSION} org.opencontainers.image.revision=${REVISION}

FROM base AS bridge
COPY --from=bridge-libraries /opt/venv /opt/venv
COPY contract contract
COPY plumbing plumbing
COPY bridge bridge
# The watch over MirrorMaker has no image of its own: it runs at the edge, and needs nothing else.
COPY mirror mirror
RUN python3 -m compileall -q /app
USER 10001:10001
ENTRYPOINT ["python", "-m", "bridge"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.version=${VERSION} org.opencontainers.image.revision=${REVISION}

FROM base AS scorer
COPY --from=scorer-libraries /opt/venv /opt/venv
COPY contract contract
COPY plumbing plumbing
COPY scorer scorer
RUN python3 -m compileall -q /app
USER 10001:10001
ENTRYPOINT ["python", "-m", "scorer"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.version=${VERSION} org.opencontainers.image.revision=${REVISION}

FROM base AS trainer
COPY --from=trainer-libraries /opt/venv /opt/venv
COPY contract contract
COPY plumbing plumbing
COPY trainer trainer
RUN python3 -m compileall -q /app
USER 10001:10001
ENTRYPOINT ["python", "-m", "trainer"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.version=${VERSION} org.opencontainers.image.revision=${REVISION}
# The image has no git, so the revision for the model's manifest comes from the build.
ENV TRAINER_GIT_REVISION=${REVISION}

# The trainer for GPU nodes: NVIDIA's libraries are Python packages, the driver is the node's.
FROM trainer-libraries AS trainer-gpu-libraries
RUN /opt/pip/bin/pip --python /opt/venv/bin/python install --no-cache-dir -c /needs/constraints.txt 'tensorflow[and-cuda]'

FROM trainer AS trainer-gpu
COPY --from=trainer-gpu-libraries /opt/venv /opt/venv
