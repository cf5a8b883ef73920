"""A completions server on loopback that speaks vLLM's dialect, with true numbers.

    python loopback_server.py

The model is `builtin:weak`, computed by qaqfilter's reference backend; vLLM itself is too heavy for
a test. What it says, and how, follows vLLM's source (below vllm/entrypoints: protocol.py and
serving.py of openai/completion, protocol.py of serve/tokenize). It prints its port and serves until
it is killed.

The first part of a path is a mood: `/good/v1/completions` answers well, others show one fault each.
`/log` lists the requests so far, `/busy/...` is busy for two requests of every three.
"""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from qaqfilter import TokenSequence
from qaqfilter.manager import load_plugins

NAME = "weak"
LOG: list[dict[str, Any]] = []
BUSY = [0]
LOCK = threading.Lock()


class Files:
    """Where the backend finds its weights."""

    def model_files(self, location, revision=None):
        made = load_plugins().component("model", "builtin")
        return made.create(made.config()).locate(location.removeprefix("builtin:"), revision)


def reference():
    """The backend whose numbers are told."""
    made = load_plugins().component("backend", "reference")
    return made.create(made.config(model="builtin:weak"), Files())


BACKEND = None


def tokenize(mood, body):
    ids = BACKEND.encode(body["prompt"], markup=True)
    if body.get("add_special_tokens", True) and mood != "no-bos":
        ids = [BACKEND.start_token, *ids]
    names = [BACKEND._tokenizer.id_to_token(one) for one in ids]
    if mood == "spaces":
        names = ["\u2581" + names[0], *names[1:]]
    return {
        "count": len(ids),
        "max_model_len": BACKEND.max_length + 1,
        "tokens": ids,
        "token_strs": names if body.get("return_token_strs") else None,
    }


def completions(mood, body):
    assert body["echo"] and body["logprobs"] == 1 and body["return_tokens_as_token_ids"]
    prompts = body["prompt"] if isinstance(body["prompt"][0], list) else [body["prompt"]]
    choices = [choice(mood, index, ids) for index, ids in enumerate(prompts)]
    if mood == "backwards":
        choices.reverse()
    if mood == "loses-one":
        choices.pop()
    return {"object": "text_completion", "model": NAME, "choices": choices}


def choice(mood, index, ids):
    with LOCK:
        sequence = TokenSequence(tuple(ids), ((1, len(ids)),))
        values = [None, *BACKEND.logprobs([sequence])[0][0].tolist(), -0.25]
    tokens = [f"token_id:{one}" for one in [*ids, 7]]
    if mood == "another-model":
        values = [None, *(2 * value for value in values[1:])]
    if mood == "generated-only":  # llama.cpp's server
        tokens, values = tokens[-1:], values[-1:]
    if mood == "shifted":  # numbers moved one to the left
        values = [*values[1:], None]
    if mood == "adds-bos":
        tokens, values = ["token_id:0", *tokens], [None, -1.0, *values[1:]]
    if mood == "drops-bos":
        tokens, values = [*tokens[1:], "token_id:7"], [*values[1:], -0.25]
    if mood == "words":  # no return_tokens_as_token_ids
        tokens = [BACKEND._tokenizer.id_to_token(one) for one in [*ids, 7]]
    if mood == "hole":
        values[len(ids) // 2] = None
    if mood == "impossible":
        values[1] = -9999.0
    if mood == "not-generated":
        tokens, values = tokens[:-1], values[:-1]
    told = {"tokens": tokens, "token_logprobs": values, "text_offset": [], "top_logprobs": []}
    if mood == "no-logprobs":
        told = None
    return {"index": index, "text": "", "logprobs": told, "finish_reason": "length"}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(None)

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        self.answer(json.loads(self.rfile.read(length)))

    def answer(self, body):
        if self.path == "/log":
            return self.say(200, LOG)
        _, mood, path = self.path.split("/", 2)
        key = self.headers.get("Authorization")
        LOG.append({"path": self.path, "key": key, "body": body})
        if mood == "key" and key != "Bearer sesame":
            return self.say(401, {"error": {"message": f"wrong key {key}"}})
        if mood == "busy":
            BUSY[0] += 1
            if BUSY[0] % 3:
                return self.say((429, 503)[BUSY[0] % 2], {}, {"Retry-After": "0"})
        if mood == "always-busy" and path == "v1/completions":
            return self.say(503, {}, {"Retry-After": "0"})
        if mood == "overrun" and path == "v1/completions":
            return self.say(503, {})
        if mood == "slow" and path == "v1/completions":
            time.sleep(30)
        if mood == "elsewhere":
            return self.say(307, {}, {"Location": "/good/" + path})
        if mood == "a-page":
            return self.say(200, b"<!doctype html><title>Hello</title>")
        if mood == "hangs-up" and path == "v1/completions":
            self.close_connection = True  # after an answer that promised to keep it
        if mood == "text-only" and path == "v1/completions":  # llama-cpp-python's server
            return self.say(500, {"error": {"message": "4 validation errors: valid string"}})
        match path:
            case "v1/models":
                names = {"two-models": [NAME, "other"]}.get(mood, [NAME])
                data = [{"id": name, "root": f"/models/{name}", "created": 1} for name in names]
                return self.say(200, {"object": "list", "data": data})
            case "version" if mood != "no-version":
                return self.say(200, {"version": "0.0-loopback"})
            case "tokenize" if mood != "no-tokenize":
                return self.say(200, tokenize(mood, body))
            case "v1/completions":
                if any(len(ids) + 1 > BACKEND.max_length + 1 for ids in body["prompt"]):
                    return self.say(400, {"error": {"message": "maximum context length"}})
                return self.say(200, completions(mood, body))
        return self.say(404, {"detail": "Not Found"})

    def say(self, status, told, headers=None):
        body = told if isinstance(told, bytes) else json.dumps(told).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        # One packet: two would wait for each other's acknowledgement.
        self._headers_buffer.append(b"\r\n" + body)
        self.flush_headers()

    def log_message(self, format, *args):
        pass


if __name__ == "__main__":
    BACKEND = reference()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()
