/** Many small pieces of work, a few at a time. */

/** As `Promise.all` over `work`, with so many under way at most; what it gives is in the order of `inputs`. */
export async function mapAtOnce<A, B>(inputs: readonly A[], most: number, work: (input: A) => Promise<B>): Promise<B[]> {
  const outputs: B[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < inputs.length) {
      const at = next++;
      outputs[at] = await work(inputs[at]!);
    }
  };
  await Promise.all(Array.from({ length: Math.min(most, inputs.length) }, lane));
  return outputs;
}
