"""What does a front end see, message by message?

Unlike jupyter_client's own clients this one sends frames that no front end would, subscribes when it is told to,
and keeps every message with its headers.
"""

from __future__ import annotations

import time
import uuid
from typing import Any, Callable

import zmq
from jupyter_client.manager import KernelManager
from jupyter_client.session import Session

CHANNELS = {"shell": zmq.DEALER, "control": zmq.DEALER, "stdin": zmq.DEALER, "iopub": zmq.SUB}

Message = dict[str, Any]


class FrontEnd:
    """A client of its own identity; `iopub` is connected by `subscribe`."""

    def __init__(self, manager: KernelManager, subscribe: bool = True) -> None:
        self.manager = manager
        self.session = Session(key=manager.session.key)
        self.context = zmq.Context()
        self.identity = uuid.uuid4().bytes
        self.poller = zmq.Poller()
        self.sockets: dict[str, zmq.Socket] = {}
        self.received: dict[str, list[Message]] = {name: [] for name in CHANNELS}
        self.by_parent: dict[tuple[str, str], list[Message]] = {}
        self.idle: set[str] = set()
        for name in ("shell", "control", "stdin"):
            self.connect(name)
        if subscribe:
            self.subscribe()

    def connect(self, name: str) -> zmq.Socket:
        socket = self.context.socket(CHANNELS[name])
        socket.linger = 0
        if name != "iopub":
            socket.identity = self.identity
        socket.connect(self.manager._make_url(name))
        self.sockets[name] = socket
        self.poller.register(socket, zmq.POLLIN)
        return socket

    def subscribe(self, topic: bytes = b"") -> None:
        """Connects iopub and waits for the kernel's welcome: from then on nothing is missed."""
        socket = self.connect("iopub")
        socket.rcvhwm = 0
        socket.subscribe(topic)
        self.wait(lambda: any(kind(m) == "iopub_welcome" for m in self.received["iopub"]))

    def send(
        self, msg_type: str, content: dict | None = None, channel: str = "shell", answers: Message | None = None
    ) -> str:
        """Sends a request, or the answer to one, and returns its id."""
        message = self.session.msg(msg_type, content or {}, parent=answers)
        self.session.send(self.sockets[channel], message)
        return message["header"]["msg_id"]

    def execute(self, code: str | None, **options: Any) -> str:
        content = {"code": code, "allow_stdin": False, "silent": False, "store_history": True}
        return self.send("execute_request", content | {"user_expressions": {}, "stop_on_error": True} | options)

    def reply(self, msg_id: str, channel: str = "shell", limit: float = 30) -> Message:
        """Waits for the answer to a request."""
        self.wait(lambda: self.of(msg_id, channel), limit)
        return self.of(msg_id, channel)[0]

    def published(self, msg_id: str, limit: float = 30) -> list[Message]:
        """Waits for the idle of a request and returns what was published for it, statuses included."""
        self.wait(lambda: msg_id in self.idle, limit)
        return self.of(msg_id, "iopub")

    def run(self, code: str | None, limit: float = 30, **options: Any) -> tuple[dict, list[Message]]:
        """Runs a cell; its reply's content and what was published between busy and idle."""
        msg_id = self.execute(code, **options)
        reply = self.reply(msg_id, limit=limit)
        return reply["content"], self.published(msg_id)[1:-1]

    def ask(self, msg_type: str, content: dict | None = None, channel: str = "shell", limit: float = 30) -> dict:
        """Sends a request and returns the content of the answer."""
        return self.reply(self.send(msg_type, content, channel), channel, limit)["content"]

    def input_request(self, limit: float = 15) -> Message:
        """Waits for the next prompt."""
        self.wait(lambda: self.received["stdin"], limit)
        return self.received["stdin"].pop(0)

    def of(self, msg_id: str, channel: str) -> list[Message]:
        return self.by_parent.get((channel, msg_id), [])

    def wait(self, until: Callable[[], object], limit: float = 30) -> None:
        """Takes in messages until something holds.

        Raises TimeoutError when it never does.
        """
        end = time.monotonic() + limit
        while not until():
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"nothing came within {limit} s")
            self.take(left)

    def listen(self, seconds: float) -> None:
        """Takes in what comes in this time."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.take(left)

    def take(self, seconds: float) -> None:
        ready = dict(self.poller.poll(int(seconds * 1000) + 1))
        for name, socket in self.sockets.items():
            if socket in ready:
                _, frames = self.session.feed_identities(socket.recv_multipart())
                self.sort(name, self.session.deserialize(frames))

    def sort(self, channel: str, message: Message) -> None:
        parent = message["parent_header"].get("msg_id", "")
        self.received[channel].append(message)
        self.by_parent.setdefault((channel, parent), []).append(message)
        if kind(message) == "status" and message["content"]["execution_state"] == "idle":
            self.idle.add(parent)

    def close(self) -> None:
        self.context.destroy(linger=0)


def kind(message: Message) -> str:
    return message["header"]["msg_type"]


def kinds(messages: list[Message]) -> list[str]:
    return [kind(m) for m in messages]


def states(messages: list[Message]) -> list[str]:
    return [m["content"]["execution_state"] for m in messages if kind(m) == "status"]


def text(messages: list[Message], stream: str = "stdout") -> str:
    """What was written to a stream."""
    parts = [m["content"] for m in messages if kind(m) == "stream"]
    return "".join(part["text"] for part in parts if part["name"] == stream)
