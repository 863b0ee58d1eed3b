/** Waits for all, then throws the first error if there was one: nothing goes on behind a caller's back. */
export async function settled<T extends readonly unknown[] | []>(promises: T): Promise<{ -readonly [K in keyof T]: Awaited<T[K]> }> {
  const outcomes = await Promise.allSettled(promises);
  for (const each of outcomes) if (each.status === 'rejected') throw each.reason;
  // Every one is fulfilled here.
  return outcomes.map((each) => (each as PromiseFulfilledResult<unknown>).value) as { -readonly [K in keyof T]: Awaited<T[K]> };
}
