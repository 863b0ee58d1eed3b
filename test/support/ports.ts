/** Ports of this machine. */
import { createServer } from 'node:net';

/** A port that was free a moment ago: nothing listens there. `wanted`: this one. */
export function freePort(wanted = 0): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
      .once('error', reject)
      .listen(wanted, '127.0.0.1', () => {
        const { port } = server.address() as { port: number };
        server.close(() => resolve(port));
      });
  });
}

/** One below 32768, where systems do not look for free ones of their own: Temporal's server keeps its ports in two bytes with a sign. */
export async function lowPort(): Promise<number> {
  for (;;) {
    const port = await freePort(20_000 + Math.floor(Math.random() * 12_000)).catch(() => null);
    if (port !== null) return port;
  }
}
