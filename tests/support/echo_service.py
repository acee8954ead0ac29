"""Run a bare FastAPI application that takes and gives JSON of given sizes: what an invocation's REST costs at least."""

import asyncio
import socket
import sys

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel


class Taken(BaseModel):
    record: str


class Given(BaseModel):
    text: str


def application(answer_characters: int) -> FastAPI:
    """Return the application; its answers have as many characters as they shall."""
    app, text = FastAPI(), "A" * answer_characters

    @app.post("/echo")
    async def echo(_taken: Taken) -> Given:
        return Given(text=text)

    return app


def main(descriptor: str, answer_characters: str) -> None:
    """Serve on an inherited socket until told to end."""
    app = application(int(answer_characters))
    config = uvicorn.Config(app, log_config=None, access_log=False, ws="none")
    asyncio.run(uvicorn.Server(config).serve([socket.socket(fileno=int(descriptor))]))


if __name__ == "__main__":
    main(*sys.argv[1:])
