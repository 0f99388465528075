"""Calls that change which prompts are served: below the prompt root, with a key of their own."""

import asyncio
import errno
from typing import Any, Protocol

from fastapi import FastAPI, Request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cpeft.errors import CpeftError
from cpeft.serve.web.guard import ADMIN, RequestError

FULL = (errno.ENOSPC, errno.EDQUOT)


class Admin(Protocol):
    """What the calls do; raises CpeftError for what cannot be served."""

    def post(self, name: str, folder: str | None, version: str | None) -> dict[str, Any]: ...

    def delete(self, name: str) -> bool: ...


class PostedPrompt(BaseModel):
    """A name and what it is to stand for: a folder below the prompt root, or a version that the name had before."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")
    folder: str | None = Field(None, max_length=1000, description="Relative to the prompt root.")
    version: str | None = Field(None, pattern=r"^[0-9a-f]{16}$")

    @model_validator(mode="after")
    def _one(self) -> "PostedPrompt":
        if (self.folder is None) == (self.version is None):
            raise ValueError("give either folder or version")
        return self


def add_admin(app: FastAPI, admin: Admin | None) -> None:
    """The endpoints; without a prompt root they refuse."""

    def present() -> Admin:
        if admin is None:
            raise RequestError(403, "this server was started without --prompt-root")
        return admin

    @app.post(ADMIN, status_code=201)
    async def post(asked: PostedPrompt, request: Request) -> Any:
        """Serve a folder of the prompt root under a name, or set the name back to an earlier version."""
        try:
            return await asyncio.to_thread(present().post, asked.name, asked.folder, asked.version)
        except CpeftError as error:
            raise RequestError(400, str(error)) from None
        except OSError as error:
            if error.errno in FULL:
                raise RequestError(507, "the disk of the prompt root is full; nothing has changed") from None
            raise

    @app.delete(ADMIN + "/{name}")
    async def delete(name: str) -> Any:
        """Serve a name no longer. Requests under way keep the prompt; its versions stay on disk."""
        if not await asyncio.to_thread(present().delete, name):
            raise RequestError(404, f"no prompt {name[:80]!r} of the prompt root is served")
        return {"id": name, "deleted": True}
