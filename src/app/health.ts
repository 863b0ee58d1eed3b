/**
 * What an orchestrator asks of a worker, over HTTP: is the process sound (`/healthz`), and does it take work (`/readyz`)?
 *
 * 200 or 503, and JSON that says why. Nothing here tells of inputs or settings.
 */
import { createServer, type Server } from 'node:http';
import { textOf } from '../errors.ts';
import { addressText, refusedAddress, type Address } from './addresses.ts';

export interface QueueHealth {
  readonly task_queue: string;
  /** The SDK's word: RUNNING, DRAINING, STOPPED, FAILED … */
  readonly state: string;
  readonly activities: number;
}

export interface WorkerHealth {
  readonly queues: readonly QueueHealth[];
  /** Null: it answers; else what is wrong with it. */
  readonly server: string | null;
}

export interface HealthServer {
  readonly address: string;
  close(): Promise<void>;
}

/** `health` looks at the worker, and where `asked` at the server as well. */
export async function serveHealth(
  address: Address,
  health: (look: { readonly server: boolean }) => Promise<WorkerHealth>,
): Promise<HealthServer> {
  const server = createServer((request, response) => {
    const answer = (status: number, body: object): void => {
      response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
      response.end(request.method === 'HEAD' ? undefined : `${JSON.stringify(body)}\n`);
    };
    // As it came: what is not a URL is a path that is not there.
    const [path] = (request.url ?? '/').split('?', 1);
    if (request.method !== 'GET' && request.method !== 'HEAD') return answer(405, { error: 'GET and HEAD only' });
    if (path !== '/healthz' && path !== '/readyz') return answer(404, { error: 'there are /healthz and /readyz' });
    void health({ server: path === '/readyz' }).then(
      (found) => {
        const reasons = path === '/healthz' ? unsound(found) : unready(found);
        answer(reasons.length === 0 ? 200 : 503, { status: reasons.length === 0 ? 'ok' : 'unavailable', reasons, queues: found.queues });
      },
      (error: unknown) => answer(503, { status: 'unavailable', reasons: [textOf(error)], queues: [] }),
    );
  });
  await listen(server, address);
  const bound = server.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : address.port;
  // Whoever keeps its connection open does not keep the worker up.
  server.unref();
  return {
    address: addressText({ ...address, port }),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function unsound({ queues }: WorkerHealth): readonly string[] {
  return queues.filter(({ state }) => state === 'FAILED').map((queue) => `the worker of ${queue.task_queue} has failed`);
}

function unready({ queues, server }: WorkerHealth): readonly string[] {
  return [
    ...queues.filter(({ state }) => state !== 'RUNNING').map((queue) => `the worker of ${queue.task_queue} is ${queue.state}`),
    ...(server === null ? [] : [server]),
  ];
}

function listen(server: Server, address: Address): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => reject(refusedAddress('The health endpoint', address, '`--health-port` or CKPT_HEALTH_PORT', cause)));
    server.listen(address.port, address.host, () => resolve());
  });
}
