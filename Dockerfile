# The application on the tiny profile, offline, as a user without rights; the port and user are those of a Docker Space.
FROM python:3.11-slim

# Where pip finds torch, such as the index of its CPU or CUDA wheels; "" takes the default ones, which run on both.
ARG TORCH_INDEX=""

RUN useradd --create-home --uid 1000 explorer
WORKDIR /home/explorer/app
COPY requirements.txt .
RUN pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url $TORCH_INDEX} -r requirements.txt
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
