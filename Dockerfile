# The application on the tiny profile, offline, as a user without rights; the port and user are those of a Docker Space.
FROM python:3.11.13-slim-bookworm

# The index that torch and torchvision come from, both from one or they do not fit, such as that of the wheels for CPUs.
# "" takes the default wheels, which run on CUDA too and are some gigabytes larger.
ARG TORCH_INDEX=""

RUN useradd --create-home --uid 1000 explorer
WORKDIR /home/explorer/app
COPY requirements.txt constraints.txt ./
RUN if [ -n "$TORCH_INDEX" ]; then \
        pip install --no-cache-dir --no-deps --index-url "$TORCH_INDEX" -c constraints.txt torch torchvision; \
    fi && pip install --no-cache-dir -c constraints.txt -r requirements.txt
COPY --chown=explorer . .
RUN mkdir /home/explorer/data && chown explorer /home/explorer/data

USER explorer
ENV EXPLORER_DATA=/home/explorer/data EXPLORER_PROFILE=tiny GRADIO_ANALYTICS_ENABLED=False HF_HUB_OFFLINE=1
# Every thread that visitors are served in would keep memory of its own; two such arenas take 30 MB less and cost no time.
ENV MALLOC_ARENA_MAX=2
VOLUME /home/explorer/data
EXPOSE 7860
HEALTHCHECK --start-period=120s CMD python -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860')"
# Whoever runs it says who may come: accounts (EXPLORER_AUTH_FILE), or EXPLORER_OPEN=1 with a port for this computer alone.
CMD ["python", "app.py", "--host", "0.0.0.0", "--port", "7860"]
