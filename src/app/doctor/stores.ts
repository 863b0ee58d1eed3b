/** The S3 stores of this machine's settings: reachable, credentials that are taken, a clock that agrees. Credentials are never shown. */
import { textOf } from '../../errors.ts';
import { explainS3 } from '../../io/s3/explain.ts';
import { headOrNull } from '../../io/s3/head.ts';
import { renewing } from '../../io/s3/keys.ts';
import type { S3Port } from '../../io/s3/port.ts';
import { globFits } from '../../io/storage/settings.ts';
import type { Storage } from '../../io/storage/storage.ts';
import { StoreFault } from '../../io/store-fault.ts';
import { clockFinding } from './clock.ts';
import { fine, problem, remark, type Finding } from './finding.ts';

/** Nobody's: whether it is there does not matter. */
const PROBE = '.ckpt-doctor';
/** Milliseconds. */
const REACH = 15_000;
/** S3 refuses requests that are older, in milliseconds. */
const SKEW_MOST = 15 * 60_000;

/** `places`: further s3:// URIs, such as the workspace. */
export async function storeFindings(storage: Storage, places: readonly string[]): Promise<readonly Finding[]> {
  const named = storage.settings.s3.flatMap(({ buckets }) => buckets);
  const buckets = new Set([...named.filter((name) => !name.includes('*')), ...places.flatMap((uri) => bucketOf(uri) ?? [])]);
  const patterns = named.filter((name) => name.includes('*') && ![...buckets].some((bucket) => globFits(name, bucket)));
  const found: Finding[] = [];
  const endpoints = new Set<string>();
  for (const bucket of buckets) {
    try {
      const port = await storage.s3(`s3://${bucket}/${PROBE}`);
      found.push(await bucketFinding(storage, port, bucket));
      // Only a request shows where the store is.
      const place = await port.describe(bucket).catch(() => null);
      if (place !== null) endpoints.add(place.endpoint ?? `https://s3.${place.region}.amazonaws.com`);
    } catch (error) {
      found.push(problem('store', `s3://${bucket}: ${textOf(error)}`, 'Check the storage settings (`--storage`, CKPT_STORAGE).'));
    }
  }
  if (buckets.size === 0 && patterns.length === 0)
    found.push(remark('store', 'not looked at: the settings name no bucket', 'Name one: `ckpt doctor s3://bucket/`.'));
  if (patterns.length > 0)
    found.push(
      remark('store', `not looked at, as a pattern names no bucket: ${patterns.join(', ')}`, 'Name one: `ckpt doctor s3://bucket/`.'),
    );
  for (const endpoint of endpoints) found.push(...(await storeClock(endpoint)));
  return found;
}

function bucketOf(uri: string): string | null {
  return /^s3:\/\/([^/?]+)/i.exec(uri)?.[1] ?? null;
}

async function bucketFinding({ policy }: Storage, port: S3Port, bucket: string): Promise<Finding> {
  const signal = AbortSignal.timeout(REACH);
  const location = { bucket, key: PROBE };
  try {
    await renewing(() => port.list(bucket, PROBE, { flat: true, from: null }, signal)).catch(async (error: unknown) => {
      // Who may not list may still read and write.
      if (!(error instanceof StoreFault) || error.status !== 403) throw error;
      await headOrNull(port, location, { ...policy, tries: 1 }, signal);
    });
    const place = await port.describe(bucket);
    return fine('store', `s3://${bucket} (${place.endpoint ?? `AWS, ${place.region}`}), with ${place.credentials}`);
  } catch (error) {
    const explained =
      error instanceof StoreFault
        ? await explainS3(error, {
            port,
            location,
            doing: 'reading',
            policy: { ...policy, tries: 1 },
          })
        : error;
    return problem('store', `s3://${bucket}: ${textOf(explained)}`, 'The same holds for every run that reads or writes there.');
  }
}

/** Any answer tells the time, a refusal as well. */
async function storeClock(endpoint: string): Promise<readonly Finding[]> {
  try {
    const before = Date.now();
    const { headers } = await fetch(endpoint, { method: 'HEAD', redirect: 'manual', signal: AbortSignal.timeout(REACH) });
    const other = Date.parse(headers.get('date') ?? '');
    if (Number.isNaN(other)) return [];
    return [clockFinding(endpoint, { before, other, after: Date.now() }, { resolution: 1000, refused: SKEW_MOST })];
  } catch {
    // That it cannot be reached has been said already.
    return [];
  }
}
