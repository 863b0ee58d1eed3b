/** From a web server with ranges to a disk: what the command keeps of what comes. */
import { createReadStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { measurement, type Measurement } from '../measurement.ts';
import { convert, type Scene } from '../scene.ts';

const RUNS = 5;
const RSS = 256 * 1024 * 1024;

export async function httpRows(scene: Scene): Promise<readonly Measurement[]> {
  const { path, size } = await scene.input('lightning');
  const server = createServer((request, response) => {
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '')!;
    const [start, end] = [Number(first), Math.min(Number(last), size - 1)];
    response.writeHead(206, { etag: '"bench"', 'content-range': `bytes ${start}-${end}/${size}`, 'content-length': end - start + 1 });
    createReadStream(path, { start, end }).pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/last.ckpt`;
  const target = join(scene.scratch, 'from-http.safetensors');
  const ms: number[] = [];
  const rss: number[] = [];
  try {
    for (let run = 0; run < (scene.runs ?? (scene.quick ? 1 : RUNS)); run++) {
      const done = await convert(scene, url, target);
      if (done.result.status !== 'completed') throw new Error(`the conversion ended as ${done.result.status}`);
      ms.push(done.ms);
      if (done.peakRss !== null) rss.push(done.peakRss);
      for (const each of [target, `${target}.manifest.json`]) await rm(each);
    }
  } finally {
    server.closeAllConnections();
    server.close();
  }
  const row = 'http';
  return [
    measurement({ row, what: 'HTTP → disk: whole process', unit: 'ms', ours: ms }),
    ...(rss.length === 0
      ? []
      : [
          measurement({
            row,
            what: 'HTTP → disk: peak RSS',
            unit: 'bytes',
            ours: rss,
            budget: { text: '256 MiB', limit: RSS, of: 'ours' },
          }),
        ]),
  ];
}
