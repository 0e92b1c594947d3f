# The application on the tiny profile, offline, as a user without rights; the port and user are those of a Docker Space.
FROM python:3.11-slim

RUN useradd --create-home --uid 1000 explorer
WORKDIR /home/explorer/app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY --chown=explorer . .
RUN mkdir /home/explorer/data && chown explorer /home/explorer/data

USER explorer
ENV EXPLORER_DATA=/home/explorer/data GRADIO_ANALYTICS_ENABLED=False HF_HUB_OFFLINE=1
VOLUME /home/explorer/data
EXPOSE 7860
HEALTHCHECK CMD python -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860')"
CMD ["python", "app.py", "--host", "0.0.0.0", "--port", "7860"]
