"""A consumer of fanferro: one process, one handler that does nothing. argv: number of pollers (its default is 1)."""

import asyncio
import os
import sys

import fanferro


async def noop(message: fanferro.Message[bytes]) -> None:
    pass


async def main() -> None:
    pollers = int(sys.argv[1])
    client = fanferro.Client(
        region="us-east-1",
        endpoint_url=os.environ["AWS_ENDPOINT_URL_SQS"],
        credentials=fanferro.Credentials("test", "test"),
    )
    client.consumer(os.environ["BENCH_QUEUE"], noop, pollers=pollers, concurrency=10 * pollers)
    async with client:
        await client.run()


asyncio.run(main())
