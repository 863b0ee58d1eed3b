/** The thread of `threadDigesters`. */
import { parentPort, workerData } from 'node:worker_threads';
import { digestSequence, type ThreadRequest } from './digest.ts';

// It is started with its blocks of shared memory.
const memory = workerData as readonly Uint8Array[];
const sequences: ReturnType<typeof digestSequence>[] = [];
parentPort!.on('message', ({ sequence, request }: ThreadRequest) =>
  parentPort!.postMessage((sequences[sequence] ??= digestSequence(memory))(request)),
);
