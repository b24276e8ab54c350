# syntax=docker/dockerfile:1
#
#   docker build --target cpu  -t gpu_mlp:cpu .
#   docker build --target cuda -t gpu_mlp:cuda .     # run with: docker run --gpus all ...
#
#   docker run --rm -v "$PWD:/work" --user "$(id -u):$(id -g)" gpu_mlp:cpu train --demo digits

ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY gpu_mlp gpu_mlp
COPY cuda cuda
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:${PYTHON}-slim AS base
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A home that any user may write to, for the cache of compiled kernels: with --user, HOME would be / otherwise.
RUN useradd --create-home --uid 1000 trainer && chmod 1777 /home/trainer
ENV HOME=/home/trainer
RUN mkdir /work && chown trainer /work
WORKDIR /work
ENTRYPOINT ["gpu-mlp"]
CMD ["--help"]

FROM base AS cpu
RUN --mount=from=wheel,source=/wheels,target=/wheels \
    pip install --no-cache-dir "$(echo /wheels/gpu_mlp-*.whl)[data,plot,fast]"
USER trainer

# CuPy's wheels bring the CUDA libraries; the driver comes from the host through the NVIDIA Container Toolkit.
FROM base AS cuda
ARG CUDA=cuda13
RUN --mount=from=wheel,source=/wheels,target=/wheels \
    pip install --no-cache-dir "$(echo /wheels/gpu_mlp-*.whl)[data,plot,${CUDA}]"
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
# Compiled kernels go to /home/trainer/.cupy; mount a volume there to keep them between containers.
USER trainer
