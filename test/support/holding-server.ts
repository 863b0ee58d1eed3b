/** A web server with one file that stops in the middle: whoever reads on waits until it closes. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';

export interface HoldingServer {
  readonly url: string;
  close(): Promise<void>;
}

/** Serves ranges of the file at `path`, and after `bytes` in all nothing more. */
export async function startHoldingServer(path: string, bytes: number): Promise<HoldingServer> {
  const { size } = await stat(path);
  let left = bytes;
  const server = createServer((request, response) => {
    const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
    const start = Number(first ?? 0);
    const end = last === undefined || last === '' ? size - 1 : Math.min(Number(last), size - 1);
    response.writeHead(first === undefined ? 200 : 206, {
      'accept-ranges': 'bytes',
      'content-length': end - start + 1,
      etag: '"one"',
      ...(first === undefined ? {} : { 'content-range': `bytes ${start}-${end}/${size}` }),
    });
    if (request.method === 'HEAD') return response.end();
    const gate = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        left -= chunk.length;
        // Never called again: the reader waits.
        if (left >= 0) done(null, chunk);
      },
    });
    return void pipeline(createReadStream(path, { start, end }), gate, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  // A TCP server has an address with a port.
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/large.safetensors`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
