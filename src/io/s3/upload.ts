/**
 * The multipart upload of one output, found again by whoever goes on with it.
 *
 * A small object beside the output (`.name.….partial`) says that an upload is about to begin, and then which it is. Invariant: an
 * upload that was begun is either named there, or began after what lies there was written: so none is ever lost, whenever the
 * worker is killed.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { RetryPolicy } from '../retry.ts';
import { StoreFault } from '../store-fault.ts';
import { explainS3 } from './explain.ts';
import { withGrace } from './grace.ts';
import { parseS3 } from './location.ts';
import { patiently } from './patience.ts';
import type { PartSums, S3Listed, S3Part, S3Port, S3Target } from './port.ts';
import { listed, readSmallS3 } from './source.ts';

/** Milliseconds after the word that an upload is about to begin within which it does, its retries included. */
const BEGINS_WITHIN = 5 * 60_000;
/** How often an upload is aborted that does not go, and milliseconds after the first of them; each longer than the one before. */
const ABORTS = 4;
const ABORT_AGAIN = 100;
/** Times of objects are told in whole seconds. */
const CLOCK_GRAIN = 1000;

interface Marker {
  /** Null: about to begin. */
  readonly upload: string | null;
  /** Digest of how the output is cut into parts, and of what they hold. */
  readonly cut: string;
}

export interface UploadPlace {
  readonly port: S3Port;
  readonly policy: RetryPolicy;
  readonly target: S3Target;
  readonly token: string;
  readonly signal: AbortSignal | undefined;
}

export interface TakenUpload {
  readonly upload: string;
  /** Those that are there, by their number. */
  readonly parts: ReadonlyMap<number, S3Part>;
}

/** The upload of an earlier attempt of this stage, if it is open and was cut alike; else a new one. */
export async function takeUpload(
  place: UploadPlace,
  { cut, mark, sums }: { readonly cut: string; readonly mark: string; readonly sums: PartSums },
): Promise<TakenUpload> {
  const { port, policy, target, signal } = place;
  const left = await readMarker(place);
  if (left !== null && left.upload !== null) {
    const { upload } = left;
    const parts = await patiently(policy, signal, 0, (inner) => port.listParts(target, upload, inner)).catch(nullIfGone);
    if (parts !== null && left.cut === cut) return { upload, parts: new Map(parts.map((part) => [part.number, part])) };
    if (parts !== null) await abort(place, upload);
  } else if (left !== null) await abortUnnamed(place, null);
  await writeMarker(place, { upload: null, cut }, mark);
  let tries = 0;
  const upload = await patiently(policy, signal, 0, (inner, tried) => {
    tries = tried;
    return withGrace(inner, (late) => port.createUpload(target, { mark, sums }, late));
  });
  try {
    // An answer that was lost may have begun one that nobody knows.
    if (tries > 1) await abortUnnamed(place, upload);
    await writeMarker(place, { upload, cut }, mark);
  } catch (error) {
    await abort(place, upload).catch(() => undefined);
    throw error;
  }
  return { upload, parts: new Map() };
}

/** Aborts the upload that attempts of a stage left open, and forgets it; none there is fine. */
export async function discardS3(port: S3Port, uri: string, token: string, policy: RetryPolicy, signal?: AbortSignal): Promise<void> {
  const place = { port, policy, target: parseS3(uri), token, signal };
  const left = await readMarker(place);
  if (left === null) return;
  if (left.upload === null) await abortUnnamed(place, null);
  else await abort(place, left.upload);
  await forgetUpload(place);
}

/** Of an upload that is complete or aborted. What the store refuses is told of the marker, which is another key. */
export async function forgetUpload(place: UploadPlace): Promise<void> {
  const { port, policy, signal } = place;
  const location = markerOf(place);
  try {
    await patiently(policy, signal, 0, (inner) => port.remove(location, inner)).catch(nullIfGone);
  } catch (error) {
    if (!(error instanceof StoreFault)) throw error;
    throw await explainS3(error, { port, location, doing: 'removing', policy, signal });
  }
}

/** Until it is gone: a store may take a part that was under way after all, and then lists the upload as before. */
async function abort({ port, policy, target, signal }: UploadPlace, upload: string): Promise<void> {
  for (let tries = 1; ; tries++) {
    await patiently(policy, signal, 0, (inner) => port.abortUpload(target, upload, inner)).catch(nullIfGone);
    // Who may not look has done what can be done.
    const parts = await patiently(policy, signal, 0, (inner) => port.listParts(target, upload, inner)).catch((error: unknown) => {
      if (error instanceof StoreFault) return null;
      throw error;
    });
    if (parts === null || tries === ABORTS) return;
    await sleep(ABORT_AGAIN * tries, undefined, { signal });
  }
}

/**
 * Aborts uploads to this key that began after our word for it, but `keep`. Those that other runs name are theirs; while another run
 * is about to begin one, nobody can tell whose a new one is, and all stay.
 */
async function abortUnnamed(place: UploadPlace, keep: string | null): Promise<void> {
  const { port, policy, target, signal } = place;
  try {
    const open = await patiently(policy, signal, 0, (inner) => port.listUploads(target, inner));
    const marker = markerOf(place);
    const prefix = marker.key.slice(0, marker.key.length - `${place.token}.partial`.length);
    let ours: S3Listed | undefined;
    const others: string[] = [];
    for await (const object of listed(port, { bucket: target.bucket, key: prefix }, { flat: true, policy, signal })) {
      if (object.key === marker.key) ours = object;
      else if (object.key.endsWith('.partial')) others.push(object.key);
    }
    if (ours === undefined) return;
    const named = new Set([keep]);
    for (const key of others) {
      const theirs = await markerAt(place, { bucket: target.bucket, key });
      if (theirs?.upload === null) return;
      named.add(theirs?.upload ?? null);
    }
    const since = ours.modified - CLOCK_GRAIN;
    for (const { id, initiated } of open)
      if (!named.has(id) && initiated >= since && initiated <= ours.modified + BEGINS_WITHIN) await abort(place, id);
  } catch (error) {
    signal?.throwIfAborted();
    // Who may not list leaves it to the bucket's own rule for uploads that nobody completes.
    if (!(error instanceof StoreFault)) throw error;
  }
}

/** Named as the partial files of local outputs are. */
function markerOf({ target: { bucket, key }, token }: Pick<UploadPlace, 'target' | 'token'>): S3Target {
  const slash = key.lastIndexOf('/') + 1;
  return { bucket, key: `${key.slice(0, slash)}.${key.slice(slash)}.${token}.partial` };
}

const readMarker = (place: UploadPlace): Promise<Marker | null> => markerAt(place, markerOf(place));

async function markerAt({ port, policy, signal }: UploadPlace, marker: S3Target): Promise<Marker | null> {
  const text = await readSmallS3(port, marker, policy, signal);
  if (text === null) return null;
  try {
    // Written by this module alone; what is broken is as good as none.
    const { upload, cut } = JSON.parse(text) as Partial<Marker>;
    return (typeof upload === 'string' || upload === null) && typeof cut === 'string' ? { upload, cut } : null;
  } catch {
    return null;
  }
}

async function writeMarker(place: UploadPlace, marker: Marker, mark: string): Promise<void> {
  const text = new TextEncoder().encode(JSON.stringify(marker));
  await patiently(place.policy, place.signal, 0, (inner) =>
    withGrace(inner, (late) => place.port.put(markerOf(place), text, { mark, condition: { kind: 'any' } }, late)),
  );
}

function nullIfGone(error: unknown): null {
  if (error instanceof StoreFault && error.status === 404) return null;
  throw error;
}
