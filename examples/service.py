"""A web service that runs its users' code, each request in a box of its own. Needs FastAPI.

    IMAGE=images:debian/13 uvicorn --app-dir examples service:app
    curl localhost:8000/run --json '{"language": "sh", "code": "echo $((6 * 7))"}'

The boxes are hardened, run already when a request comes, and are gone after it; see the guide on sandboxes.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Literal

from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel, Field

from incus_sdk import Client, IncusInputError, IncusTimeoutError, ProcessError
from incus_sdk.sandbox import Limits, Pool, prune

LIMITS = Limits(cpu=0.5, memory="256MiB", processes=64, disk=None)


class Job(BaseModel):
    """What a user wants to run."""

    language: Literal["python", "sh"] = "python"
    code: str = Field(max_length=100_000)


class Outcome(BaseModel):
    """How it ended."""

    exit_code: int
    stdout: str
    stderr: str


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    """One client and one pool for the whole service."""
    image, size = os.environ.get("IMAGE", "images:debian/13"), int(os.environ.get("SIZE", "4"))
    async with Client() as client:
        await prune(client, labels={"app": "service"})  # what a killed service has left
        async with Pool(client, image, size=size, limits=LIMITS, labels={"app": "service"}) as pool:
            app.state.pool = pool
            yield


app = FastAPI(lifespan=lifespan)


@app.post("/run")
async def run(job: Job, request: Request) -> Outcome:
    """Run code in a box of its own, for ten seconds at most."""
    pool: Pool = request.app.state.pool
    async with pool.lease() as box:
        try:
            result = await box.run_code(job.language, job.code, timeout=10, max_output=100_000)
        except IncusTimeoutError:
            raise HTTPException(408, "it ran for more than ten seconds") from None
        except IncusInputError as error:  # such as an interpreter that the image does not have
            raise HTTPException(422, str(error)) from None
        except ProcessError as error:
            raise HTTPException(413, str(error)) from None
        return Outcome(exit_code=result.returncode, stdout=result.stdout, stderr=result.stderr)
