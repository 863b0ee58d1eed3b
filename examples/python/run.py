"""A run from its start to its result with Temporal's Python SDK:  python run.py SOURCE TARGET

TEMPORAL_ADDRESS says where the server is; SOURCE and TARGET are as its workers see them.
"""

import asyncio
import json
import os
import sys
import uuid

from temporalio.client import Client, WorkflowFailureError, WorkflowUpdateFailedError
from temporalio.envconfig import ClientConfig


def pipeline(source: str, target: str, on_error: str) -> dict:
    return {
        "name": "python-example",
        "on_error": on_error,
        "stages": [
            {"type": "source.local", "path": source},
            {"type": "loader.weights_only"},
            {"type": "sink.publish", "uri": target},
        ],
    }


async def main(source: str, target: str) -> str | None:
    client = await Client.connect(**ClientConfig.load_client_connect_config())

    async def start(document: dict):
        name = f"python-example-{uuid.uuid4()}"
        return await client.start_workflow("checkpointPipeline", document, id=name, task_queue="checkpoints")

    # A source that is not there: the run waits for an answer.
    run = await start(pipeline(source + ".late", target, "wait"))
    while (status := await run.query("status"))["status"] != "waiting":
        await asyncio.sleep(0.5)
    print("waiting:", status["waiting"]["error"]["type"])

    # A wrong answer is refused, and the run waits on.
    try:
        await run.execute_update("resolve_failure", {"action": "retry", "options": {"pth": source}})
    except WorkflowUpdateFailedError as error:
        print("refused:", error.cause.type)
    await run.execute_update("resolve_failure", {"action": "retry", "options": {"path": source}})
    # Where SOURCE is not there either it waits once more, and nobody else would answer: `result` would never come.
    while (status := await run.query("status"))["status"] == "running":
        await asyncio.sleep(0.5)
    if status["status"] == "waiting":
        await run.execute_update("resolve_failure", {"action": "abort"})
        error = status["waiting"]["error"]
        return f"{error['type']}: {error['message']}"
    print("result:", json.dumps(await run.result()))

    # A run that fails: the cause has the error code and the details.
    try:
        await (await start(pipeline(source + ".missing", target, "fail"))).result()
    except WorkflowFailureError as error:
        print("failed:", json.dumps({"type": error.cause.type, "message": error.cause.message, "details": error.cause.details[0]}))
    return None


wrong = asyncio.run(main(*sys.argv[1:]))
if wrong is not None:
    print(wrong, file=sys.stderr)
# All is said. temporalio 1.35.0 keeps threads of its own, and an interpreter that winds up beside them may abort (PyGILState_Release).
sys.stdout.flush()
os._exit(0 if wrong is None else 1)
