/** A safetensors file of noise: header of the given tensors in order, padded to 8 bytes, then their bytes. */
import { NOISE_BLOCK, noise } from './noise.ts';
import { writeFileWhole } from './output-file.ts';
import { elements } from './pickle.ts';

export async function writeSafetensors(
  path: string,
  tensors: readonly { readonly name: string; readonly shape: readonly number[] }[],
  seed: number,
): Promise<void> {
  let end = 0;
  const header = Object.fromEntries(
    tensors.map(({ name, shape }) => {
      const start = end;
      end += elements(shape) * 4;
      return [name, { dtype: 'F32', shape, data_offsets: [start, end] }];
    }),
  );
  const json = Buffer.from(JSON.stringify(header));
  const padded = Math.ceil(json.length / 8) * 8;
  const head = Buffer.alloc(8 + padded, ' ');
  head.writeBigUInt64LE(BigInt(padded), 0);
  json.copy(head, 8);
  await writeFileWhole(path, async (output) => {
    await output.write(head);
    const random = noise(seed);
    for (let done = 0; done < end; done += NOISE_BLOCK) await output.write(random(Math.min(NOISE_BLOCK, end - done)));
  });
}
