/** Work that yields between its slices, in one go. */
export function finish<Args extends readonly unknown[], T>(work: (...args: Args) => Generator<void, T>, ...args: Args): T {
  const steps = work(...args);
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
  }
}
