# The operator: Python, boto3, Kopf and our code; no torch. Build from the repository's root: docker build .
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm

# What to install, cut out of the lock file, so that the layer of dependencies depends on nothing else of pyproject.toml.
FROM ${BASE_IMAGE} AS requirements
WORKDIR /build
RUN python3 -m pip install --quiet --root-user-action=ignore uv==0.13.9
COPY pyproject.toml uv.lock README.md LICENSE ./
RUN uv export --quiet --frozen --no-dev --no-emit-project --extra operator --output-file /requirements.txt \
    && sed -i '/^#/d' /requirements.txt
# The code is copied, not installed; this is what tells importlib.metadata its version.
RUN version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml | head -n 1) \
    && mkdir -p "/metadata/t2i_operator-$version.dist-info" \
    && printf 'Metadata-Version: 2.1\nName: t2i-operator\nVersion: %s\n' "$version" \
        > "/metadata/t2i_operator-$version.dist-info/METADATA"

FROM ${BASE_IMAGE}
COPY --from=requirements /requirements.txt /opt/requirements.txt
RUN python3 -m pip install --quiet --root-user-action=ignore uv==0.13.9 \
    && uv venv --quiet --python python3 /opt/venv \
    && UV_LINK_MODE=copy uv pip install --quiet --python /opt/venv/bin/python --require-hashes --compile-bytecode \
        --requirement /opt/requirements.txt \
    && python3 -m pip uninstall --quiet --yes --root-user-action=ignore uv

COPY --from=requirements /metadata /opt/t2i
COPY api/t2i_api /opt/t2i/t2i_api
COPY checkpoint/t2i_checkpoint /opt/t2i/t2i_checkpoint
COPY operator/t2i_operator /opt/t2i/t2i_operator
RUN printf '#!/opt/venv/bin/python\nfrom t2i_operator.main import main\n\nraise SystemExit(main())\n' \
        > /opt/venv/bin/t2i-operator \
    && chmod 0755 /opt/venv/bin/t2i-operator \
    && /opt/venv/bin/python -m compileall -q /opt/t2i

# The root file system is read-only in a pod. LOGNAME: Kopf asks who it is, and this user has no name.
# MALLOC_*: glibc gives every bucket thread an arena of its own and keeps what is freed; see docs/decisions/0080.
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/opt/t2i \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    LOGNAME=t2i-operator \
    MALLOC_ARENA_MAX=1 \
    MALLOC_TRIM_THRESHOLD_=131072
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["t2i-operator"]
