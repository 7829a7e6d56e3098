# One image for all services; the command selects one: `docker run IMAGE services.ingest`.
# It runs as a numeric user, writes no files and needs no shell.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
# `--build-arg CODE=native` compiles the hot path: a tenth to a fifth less CPU in the validator (ADR 18).
ARG CODE=plain

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN ["python", "-m", "venv", "--without-pip", "/opt/tillstream"]
COPY requirements.lock /tmp/requirements.lock
RUN ["python", "-m", "pip", "--python", "/opt/tillstream/bin/python", "install", \
     "--require-hashes", "--only-binary=:all:", "-r", "/tmp/requirements.lock"]
WORKDIR /app
COPY services services
COPY schemas schemas
# The portal calls the APIs through the client library.
COPY clients/python/tillstream tillstream

FROM build AS plain

FROM build AS native
# hadolint ignore=DL3008,DL3009
RUN ["apt-get", "update"]
# hadolint ignore=DL3008,DL3009,DL3059
RUN ["apt-get", "install", "--yes", "--no-install-recommends", "gcc", "libc6-dev"]
COPY requirements-native.lock /tmp/requirements-native.lock
RUN ["python", "-m", "pip", "install", "--require-hashes", "--only-binary=:all:", "-r", "/tmp/requirements-native.lock"]
COPY tools/native.py tools/native.py
RUN ["python", "-m", "tools.native", "python", "/opt/tillstream/bin/python"]
# hadolint ignore=DL3059
RUN ["rm", "-r", "build", "tools"]

# hadolint ignore=DL3006
FROM ${CODE} AS code
# Sources for compilers and translations, which no process reads: a tenth of the image.
RUN ["find", "/opt/tillstream", "-type", "f", "(", "-path", "*/pycountry/locales/*", \
     "-o", "-name", "*.[ch]", "-o", "-name", "*.py[xi]", "-o", "-name", "*.pxd", ")", "-delete"]
# Compiled copies of fontTools' modules, which serve without being compiled as well, and lexers of other languages.
# hadolint ignore=DL3059
RUN ["find", "/opt/tillstream/lib", "-type", "f", "(", "-path", "*/fontTools/*.so", \
     "-o", "-path", "*/pygments/lexers/[!_]*", "-not", "-name", "python*", ")", "-delete"]
# Formats of numbers and dates of most languages: readers of those that are not here get English ones.
# hadolint ignore=DL3059
RUN ["find", "/opt/tillstream/lib", "-regextype", "posix-extended", "-regex", ".*/babel/locale-data/.*\\.dat", "-not", \
     "-regex", ".*/(root|ar|bg|cs|da|de|el|en|es|et|fi|fr|ga|he|hi|hr|hu|id|is|it|ja|ko|lt|lv|mt|nb|nl|nn|no|pl|pt|ro|ru|sk|sl|sr|sv|th|tr|uk|vi|zh)(_.*)?\\.dat", \
     "-delete"]
# The file system is read-only later, so compile now.
# hadolint ignore=DL3059
RUN ["/opt/tillstream/bin/python", "-m", "compileall", "-q", "services", "tillstream"]

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="Tillstream" \
      org.opencontainers.image.description="Imports sales records and fulfils code orders." \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=code /opt/tillstream /opt/tillstream
COPY --from=code /app /app
WORKDIR /app
ENV PATH=/opt/tillstream/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    # Each of the driver's threads would keep freed memory in an arena of its own: 50 MB of status' large pages.
    MALLOC_ARENA_MAX=2 \
    # Actor in the audit log of operator commands: the numeric user has no name.
    USER=tillstream \
    HTTP_HOST=0.0.0.0 \
    HTTP_PORT=8080 \
    OPERATIONS_HOST=0.0.0.0 \
    OPERATIONS_PORT=9000
# For the portal's copies of files: a volume that is mounted here gets its owner.
RUN ["install", "--directory", "--owner=10001", "--group=10001", "--mode=0700", "/spool"]
EXPOSE 8080 9000
USER 10001:10001
ENTRYPOINT ["python", "-m"]
CMD ["services"]
