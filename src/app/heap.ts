/**
 * Keeps the heap of a process that stays near what lives in it.
 *
 * What a run needs outlives two collections of new objects, so it is old when it is done with; and V8 lets a busy heap grow to several
 * times what lives before it looks for old garbage. A worker of small checkpoints rose to 410 MiB within its first thousand items, of
 * which a quarter was nothing any more. Looked for at half as much again as lives, it costs no CPU time that could be measured.
 */
import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** Of what lives: so much more, and the old objects are gone through. */
const GROWTH_PERCENT = 50;
/** Milliseconds between two looks at the heap. */
const LOOK = 500;
/** Bytes of new objects, which come and go. */
const NEW = 32 * 1024 * 1024;

/**
 * Applies to the whole process, with the thread of its workflows. Below the size that a command's heap begins with (`bin/ckpt.js`) V8 collects no old
 * garbage by itself, so that its growth is watched from here.
 */
export function boundHeapGrowth(): void {
  setFlagsFromString(`--heap-growing-percent=${GROWTH_PERCENT}`);
  // Of the contexts that are made with this flag alone: those of workflows are to have no such function.
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  setFlagsFromString('--no-expose-gc');
  const used = (): number => getHeapStatistics().used_heap_size;
  let lives = used();
  setInterval(() => {
    if (used() < lives * (1 + GROWTH_PERCENT / 100) + NEW) return;
    collect();
    lives = used();
  }, LOOK).unref();
}
