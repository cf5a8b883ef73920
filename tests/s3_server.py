"""A real S3 server on this machine, and the environment by which fsspec finds it."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import fsspec
import pytest
import s3fs
from fsspec.config import conf
from moto.server import ThreadedMotoServer


class S3Server:
    """A moto server that can be stopped and started again on the same port; it keeps its data."""

    def __init__(self) -> None:
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, self.port = self._server.get_host_and_port()
        self.endpoint = f"http://{host}:{self.port}"

    def empty(self) -> None:
        """Forget all buckets: moto holds them for the process, whichever server is asked."""
        request = urllib.request.Request(f"{self.endpoint}/moto-api/reset", method="POST")
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 200

    def start(self) -> None:
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def system(self) -> s3fs.S3FileSystem:
        """A file system of the test's own, that remembers nothing."""
        return s3fs.S3FileSystem(
            endpoint_url=self.endpoint,
            key="test",
            secret="test",
            use_listings_cache=False,
            skip_instance_cache=True,
        )

    def files(self, folder: str) -> dict[str, bytes]:
        """What is below a folder, by name."""
        system = self.system()
        return {path.rpartition("/")[2]: system.cat_file(path) for path in system.find(folder)}


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """A server with an empty bucket `bucket`, and the environment set so that s3:// means it."""
    server = S3Server()
    settings = {"endpoint_url": server.endpoint, "key": "test", "secret": "test"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setitem(conf, "s3", settings)
        forget()
        try:
            server.empty()
            server.system().mkdir("bucket")
            yield server
        finally:
            forget()
            server.stop()


def forget() -> None:
    """Have fsspec forget its file systems and what they listed."""
    s3fs.S3FileSystem.clear_instance_cache()
    fsspec.get_filesystem_class("memory").clear_instance_cache()
