# An image that audits the cases of the folder mounted at /work, on a processor:
#   docker build -t ofa-audit . && docker run --rm -v "$PWD:/work" ofa-audit pytest cases
# The user in it is not root; where the folder belongs to another than 1000, add --user "$(id -u)".
# For a GPU build with --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130

FROM python:3.11-slim-bookworm AS build
WORKDIR /build
COPY pyproject.toml README.md LICENSE constraints.txt constraints-transformers5.txt ./
COPY audit audit
COPY cases/images/two-birds-on-a-branch.png cases/images/
COPY baselines/reference/two-birds-on-a-branch.json baselines/reference/two-birds-on-a-branch.npz baselines/reference/
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim-bookworm
ARG EXTRA=ofa
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY constraints.txt /opt/constraints.txt
RUN python -m venv /opt/audit
RUN grep -E '^(torch|torchvision)==' /opt/constraints.txt > /opt/torch.txt && \
    /opt/audit/bin/python -m pip install --no-cache-dir --no-deps \
      --index-url "$TORCH_INDEX" -r /opt/torch.txt
COPY --from=build /wheels /wheels
RUN /opt/audit/bin/python -m pip install --no-cache-dir -c /opt/constraints.txt \
      "$(echo /wheels/*.whl)${EXTRA:+[$EXTRA]}"
RUN useradd --create-home --uid 1000 audit
ENV PATH=/opt/audit/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1
USER 1000
WORKDIR /work
CMD ["pytest", "cases"]
