/**
 * What a worker knows of the stores it may reach: how to reach them, and which it may reach at all.
 *
 * Worker-side on purpose: a pipeline's input names places and nothing else, so whoever may start one needs no credential and
 * can neither send a worker's credentials elsewhere nor make it read what it is fenced off from.
 */
import type { S3Profile, StorageSettings } from './settings-file.ts';

export type { Fence, S3Profile, StorageSettings } from './settings-file.ts';

/** Nothing set: the AWS SDK's own variables decide, and no fence stands. */
export const NO_SETTINGS: StorageSettings = { s3: [], allow: {}, http: {} };

/** The first profile whose pattern fits the bucket. */
export function profileOf({ s3 }: StorageSettings, bucket: string): S3Profile | null {
  return s3.find(({ buckets }) => buckets.some((name) => globFits(name, bucket))) ?? null;
}

/** `*` stands for any characters but a slash. */
export function globFits(glob: string, text: string): boolean {
  const source = glob
    .split('*')
    .map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'))
    .join('[^/]*');
  return new RegExp(`^${source}$`).test(text);
}
