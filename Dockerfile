# One image for all services; the command selects one: `docker run IMAGE services.ingest`.
# It runs as a numeric user, writes no files and needs no shell.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN ["python", "-m", "venv", "--without-pip", "/opt/tillstream"]
COPY requirements.lock /tmp/requirements.lock
RUN ["python", "-m", "pip", "--python", "/opt/tillstream/bin/python", "install", \
     "--require-hashes", "--only-binary=:all:", "-r", "/tmp/requirements.lock"]
WORKDIR /app
# Sources for compilers and translations, which no process reads: a tenth of the image.
RUN ["find", "/opt/tillstream", "-type", "f", "(", "-path", "*/pycountry/locales/*", \
     "-o", "-name", "*.[ch]", "-o", "-name", "*.py[xi]", "-o", "-name", "*.pxd", ")", "-delete"]
COPY services services
COPY schemas schemas
# The file system is read-only later, so compile now.
RUN ["/opt/tillstream/bin/python", "-m", "compileall", "-q", "services"]

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="Tillstream" \
      org.opencontainers.image.description="Imports sales records and fulfils code orders." \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/tillstream /opt/tillstream
COPY --from=build /app /app
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
EXPOSE 8080 9000
USER 10001:10001
ENTRYPOINT ["python", "-m"]
CMD ["services"]
