# One image per service: `docker build --target scorer --tag connected-cars/scorer:0.1.0 .` (buildah bud works the same).
# The base is an argument: any Debian or Ubuntu with Python 3.11 to 3.13 and its venv; `make cluster` makes one
# with debootstrap, where no image registry can be reached.
ARG BASE=docker.io/library/python:3.11-slim-bookworm

FROM ${BASE} AS base
# A user of no name and no rights; Kubernetes wants the number to see that it is not root.
RUN echo 'service:x:10001:10001::/nonexistent:/usr/sbin/nologin' >>/etc/passwd && \
    echo 'service:x:10001:' >>/etc/group
# The root file system is read-only: Python must not try to keep byte code.
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app

FROM base AS libraries
# pip stays outside of the environment that the images take over.
RUN python3 -m venv /opt/pip && python3 -m venv --without-pip /opt/venv
# Where pip finds the certificates of a company's proxy, if there is one.
ARG PIP_CERT
COPY pyproject.toml constraints.txt ./
# Only what pyproject.toml says that the service needs, in the versions that were tested: needs.py EXTRA…
RUN printf '%s\n' 'import sys, tomllib' \
    'project = tomllib.load(open("pyproject.toml", "rb"))["project"]' \
    'extras = [need for extra in sys.argv[1:] for need in project["optional-dependencies"][extra]]' \
    'print("\n".join(project["dependencies"] + extras))' >/opt/needs.py

FROM libraries AS simulator-libraries
RUN python3 /opt/needs.py simulator >/opt/needs.txt && \
    /opt/pip/bin/pip --python /opt/venv/bin/python install --no-cache-dir -c constraints.txt -r /opt/needs.txt

FROM libraries AS bridge-libraries
RUN python3 /opt/needs.py bridge >/opt/needs.txt && \
    /opt/pip/bin/pip --python /opt/venv/bin/python install --no-cache-dir -c constraints.txt -r /opt/needs.txt

FROM libraries AS scorer-libraries
RUN python3 /opt/needs.py scorer >/opt/needs.txt && \
    /opt/pip/bin/pip --python /opt/venv/bin/python install --no-cache-dir -c constraints.txt -r /opt/needs.txt

FROM libraries AS trainer-libraries
RUN python3 /opt/needs.py trainer launch >/opt/needs.txt && \
    /opt/pip/bin/pip --python /opt/venv/bin/python install --no-cache-dir -c constraints.txt -r /opt/needs.txt

# The version stands last in each: everything above is shared between versions.

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
# There is no git in the image to ask which source made a model.
ENV TRAINER_GIT_REVISION=${REVISION}
