/** The rows, in the order they are played. */
import { join } from 'node:path';
import type { InputName } from '../inputs/recipes.ts';
import type { Measurement } from '../measurement.ts';
import { convert, type BenchStage, type Scene } from '../scene.ts';
import { batchRows } from './batch.ts';
import { castRows, castStage } from './cast.ts';
import { conversionRows, smallRows } from './copying.ts';
import { formatRows } from './formats.ts';
import { httpRows } from './http.ts';
import { inspectRows } from './inspect.ts';
import { manyRows, modifierRows, NAME_MODIFIERS } from './many.ts';
import { orchestrationRows } from './orchestration.ts';
import { s3Profile, s3Rows } from './s3.ts';
import { scanRows } from './scan.ts';
import { torchRows, withoutPython } from './torch.ts';

export interface Row {
  readonly name: string;
  /** Why it cannot be played here; null: it can. */
  leftOut?(scene: Scene): string | null;
  play(scene: Scene): Promise<readonly Measurement[]>;
  /** Runs the row's commands once, for a profile of them. */
  profile?(scene: Scene): Promise<void>;
}

export const ROWS: readonly Row[] = [
  { name: 'conversion', play: conversionRows, profile: conversionsOf('lightning') },
  {
    name: 'inspect',
    play: inspectRows,
    profile: async (scene) => void (await scene.ckpt('inspect', (await scene.input('lightning')).path)),
  },
  { name: 'small', play: smallRows, profile: conversionsOf('small') },
  { name: 'many', play: manyRows, profile: conversionsOf('many-zip', 'many-safetensors') },
  { name: 'modifiers', play: modifierRows, profile: profileOf(NAME_MODIFIERS, 'many-zip', 'many-safetensors') },
  { name: 'cast', play: castRows, profile: profileOf([castStage('BF16')], 'lightning') },
  { name: 'orchestration', play: orchestrationRows, profile: conversionsOf('tiny') },
  { name: 'batch', play: batchRows },
  { name: 'scan', play: scanRows },
  { name: 'formats', play: formatRows },
  { name: 's3', play: s3Rows, profile: s3Profile },
  { name: 'http', play: httpRows },
  { name: 'torch', play: torchRows, leftOut: withoutPython },
];

function conversionsOf(...names: readonly InputName[]): NonNullable<Row['profile']> {
  return profileOf([], ...names);
}

function profileOf(modifiers: readonly BenchStage[], ...names: readonly InputName[]): NonNullable<Row['profile']> {
  return async (scene) => {
    for (const name of names) await convert(scene, (await scene.input(name)).path, join(scene.scratch, `${name}.safetensors`), modifiers);
  };
}
