/** The rows, in the order they are played. */
import type { Measurement } from '../measurement.ts';
import type { Scene } from '../scene.ts';
import { conversionRows, smallRows } from './copying.ts';

export interface Row {
  readonly name: string;
  /** Why it cannot be played here; null: it can. */
  leftOut?(scene: Scene): string | null;
  play(scene: Scene): Promise<readonly Measurement[]>;
}

export const ROWS: readonly Row[] = [
  { name: 'conversion', play: conversionRows },
  { name: 'small', play: smallRows },
];
