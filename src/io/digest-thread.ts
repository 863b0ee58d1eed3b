/** The thread of `threadDigester`. */
import { parentPort, workerData } from 'node:worker_threads';
import { digestSequence, type DigestRequest } from './digest.ts';

// `threadDigester` starts this thread with its blocks of shared memory.
const step = digestSequence(workerData as readonly Uint8Array[]);
parentPort!.on('message', (request: DigestRequest) => parentPort!.postMessage(step(request)));
