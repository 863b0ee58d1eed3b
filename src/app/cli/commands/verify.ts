/**
 * `ckpt verify`: whether a checkpoint is whole, is what its manifest says, and holds no NaN or infinity; exit 1 where not.
 *
 * A file that cannot be read at all ends in that error, which names what is wrong with its structure.
 */
import { createHash } from 'node:crypto';
import { resolve } from 'node:path';
import { CheckpointNotFoundError, isCheckpointError } from '../../../errors.ts';
import { readSmallHttp } from '../../../io/http/read-small.ts';
import { localPath, smallText } from '../../../io/local/local-file.ts';
import { siblingsOf } from '../../../io/locations/siblings.ts';
import { destinationOf } from '../../../io/publish/destination.ts';
import { isComparable, shardName } from '../../../io/publish/manifest-form.ts';
import { manifestPath, notManifest, parseManifest, type Manifest } from '../../../io/publish/manifest.ts';
import { isS3 } from '../../../io/s3/location.ts';
import type { ByteSource } from '../../../model/byte-source.ts';
import { tensorBytes } from '../../../model/dtype.ts';
import type { Header, Tensor } from '../../../model/header.ts';
import { isHttp } from '../../../model/scheme.ts';
import { formatBytes, formatCount, formatText } from '../../../model/text.ts';
import { keepTrainingState } from '../../../transform/keep-training-state.ts';
import { nonTensorText, notWeights } from '../../../transform/left-out.ts';
import { countNonFinite } from '../../../transform/non-finite.ts';
import { selectWeights } from '../../../transform/select-weights.ts';
import { configuredStorage } from '../../storage.ts';
import { checkWholeArchives, digestsOf, readCheckpoint } from '../checkpoint.ts';
import { print, printJson, type OutputOptions } from '../output.ts';
import { callerFolder } from '../paths.ts';

/** Bytes of one read of a whole file. */
const BLOCK = 4 * 1024 * 1024;
const MOST_ROWS = 40;
/** Errors that say that what lies beside a file is not a manifest; all others leave open what it is. */
const NO_MANIFEST: readonly string[] = ['CheckpointValidationError', 'CheckpointLoadError'];

interface VerifyOptions extends OutputOptions {
  /** True: the one beside the file, which must be there. */
  readonly manifest?: string | true;
  readonly stateDictKey?: string;
}

interface Finding {
  readonly code: string;
  readonly message: string;
  readonly tensor?: string;
  readonly nan?: number;
  readonly inf?: number;
}

export async function verify(location: string, options: VerifyOptions): Promise<void> {
  const { uri, name: shown, size, header } = await readCheckpoint(location, options.stateDictKey);
  const beside = await manifestFor(uri, options.manifest);
  const { manifest } = beside;
  const state = manifest !== null ? 'compared' : beside.findings.length > 0 ? 'unreadable' : null;
  const tensors = tensorsOf(header);
  const counts = tensors.map(() => ({ nan: 0, inf: 0 }));
  const onBytes = (index: number, bytes: Uint8Array): void => {
    const { nan, inf } = countNonFinite(tensors[index]!.tensor.dtype, bytes);
    counts[index]!.nan += nan;
    counts[index]!.inf += inf;
  };
  const digests = await digestsOf(header, tensors, { rests: 'all', onBytes });
  const read = tensors.filter(({ tensor: { shape } }) => !shape.includes(0));
  await checkWholeArchives(header, new Set(read.map(({ tensor: { storage } }) => storage)));
  const findings = [
    ...beside.findings,
    ...(manifest === null ? [] : await againstManifest(uri, size, manifest, tensors, digests)),
    ...tensors.flatMap(({ path }, index): Finding[] => {
      const { nan, inf } = counts[index]!;
      if (nan === 0 && inf === 0) return [];
      const what = [...(nan > 0 ? [`${nan} NaN`] : []), ...(inf > 0 ? [`${inf} infinite`] : [])].join(' and ');
      return [{ code: 'non_finite', message: `${path} holds ${what} values`, tensor: path, nan, inf }];
    }),
  ];
  const unsupported = header.weights.filter(({ tensor }) => header.tensors[tensor]!.unsupported !== undefined).map(({ name }) => name);
  const nested = notWeights(header);
  const bytes = tensors.reduce((sum, { tensor }) => sum + tensorBytes(tensor.dtype, tensor.shape), 0);
  const report = {
    uri: shown,
    size,
    format: header.format,
    container: header.container,
    valid: findings.length === 0,
    findings,
    notes: header.findings,
    tensors: tensors.length,
    tensor_bytes: bytes,
    manifest: state,
    /** Tensors without a dense form, whose values were not looked at. */
    unsupported,
    /** Values of the state dict that are not tensors and hold some, and attributes that do, which were not looked at either. */
    left_out: nested,
  };
  if (options.json === true) printJson(report);
  else {
    const rows = findings.slice(0, MOST_ROWS).map(({ message }) => `  ${message}`);
    const lines = [
      shown,
      `  ${formatText(header)}: ${formatCount(tensors.length, 'tensor')} read, ${formatBytes(bytes)}; ${state === null ? 'no manifest' : `manifest ${state}`}`,
      ...header.findings.map(({ code, message }) => `  ${code}: ${message}`),
      ...(unsupported.length > 0 ? [`  not looked into, without a dense form: ${unsupported.slice(0, 10).join(', ')}`] : []),
      ...(nested.length > 0
        ? [
            `  not looked into, inside other values and attributes: ${nested.slice(0, 10).map(nonTensorText).join(', ')}${nested.length > 10 ? ' …' : ''}`,
          ]
        : []),
      ...rows,
      ...(findings.length > MOST_ROWS ? [`  … and ${findings.length - MOST_ROWS} more (--json has all)`] : []),
      findings.length === 0 ? '  valid' : `  not valid: ${formatCount(findings.length, 'finding')}`,
    ];
    print(lines);
  }
  process.exitCode = findings.length === 0 ? 0 : 1;
}

interface Read {
  readonly name: string;
  /** From the top of the file. */
  readonly path: string;
  readonly tensor: Tensor;
  readonly weight: boolean;
}

/** Weights first, then the tensors of the training state; those without a dense form are left out. */
function tensorsOf(header: Header): readonly Read[] {
  const plan = keepTrainingState(header, selectWeights(header, { skipUnsupported: true }));
  const prefix = header.stateDictKey === null ? '' : `${header.stateDictKey}.`;
  return [
    ...plan.tensors.map(({ name, origin }) => ({ name, path: `${prefix}${name}`, tensor: origin, weight: true })),
    ...(plan.stateTensors ?? []).flatMap(({ name, origin }) =>
      origin.unsupported === undefined ? [{ name, path: name, tensor: origin, weight: false }] : [],
    ),
  ];
}

interface Beside {
  readonly manifest: Manifest | null;
  /** What lies there, where that is not a manifest. */
  readonly findings: readonly Finding[];
}

/** The manifest that was named, or the one beside the file. */
async function manifestFor(uri: string, asked: string | true | undefined): Promise<Beside> {
  if (typeof asked === 'string') {
    const path = resolve(callerFolder(), asked);
    const text = await smallText(path);
    if (text === null) throw new CheckpointNotFoundError(`There is no manifest ${path}.`, path);
    return { manifest: checkedManifest(text, path), findings: [] };
  }
  const place = manifestPath(uri);
  try {
    const text = await textBeside(place, uri);
    if (text !== null) return { manifest: checkedManifest(text, place), findings: [] };
  } catch (error) {
    if (!isCheckpointError(error) || !NO_MANIFEST.includes(error.code)) throw error;
    return { manifest: null, findings: [{ code: 'manifest', message: error.message }] };
  }
  if (asked === true)
    throw new CheckpointNotFoundError(`${uri} has no manifest beside it (${place}); name one with \`--manifest FILE\`.`, place);
  return { manifest: null, findings: [] };
}

async function textBeside(place: string, uri: string): Promise<string | null> {
  if (!isHttp(uri) && !isS3(uri)) return smallText(localPath(place));
  const storage = await configuredStorage({ inputs: 'own' });
  if (isS3(uri)) return destinationOf(storage, uri).read(place);
  const text = await readSmallHttp((each, most) => storage.open(each, undefined, undefined, most), place);
  // Some servers answer with a page where nothing lies.
  return text !== null && /^\s*</.test(text) ? null : text;
}

function checkedManifest(text: string, place: string): Manifest {
  const manifest = parseManifest(text, place);
  if (!isComparable(manifest)) throw notManifest(place, 'its sizes, digests, tensors or shards are not what they should be');
  return manifest;
}

async function againstManifest(
  uri: string,
  size: number,
  manifest: Manifest,
  tensors: readonly Read[],
  digests: readonly string[],
): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  const add = (code: string, message: string, tensor?: string): void =>
    void findings.push({ code, message, ...(tensor === undefined ? {} : { tensor }) });
  const shards = manifest.shards ?? [];
  if (shards.length === 0 && size !== manifest.size) add('size', `the file has ${size} bytes, its manifest says ${manifest.size}`);
  const storage = await configuredStorage({ inputs: 'own' });
  const sibling = siblingsOf(uri, (each) => storage.open(each));
  for (const file of [
    { name: null, sha256: manifest.sha256, identity: manifest.identity },
    ...shards.map((shard) => ({ ...shard, name: shardName(shard) })),
  ]) {
    const source = await (file.name === null ? storage.open(uri) : sibling(file.name));
    if (file.sha256 === undefined) {
      await source.close();
      // What a store copied itself was never digested: whether it was replaced, its identity in that store alone tells.
      if (isS3(uri) && source.identity !== file.identity) add('identity', replaced(source.uri, file.identity, source.identity));
      continue;
    }
    const sha256 = await fileDigest(source);
    if (sha256 !== file.sha256) add('digest', `SHA-256 of ${source.uri} is ${sha256}, its manifest says ${file.sha256}`);
  }
  const found = new Map(
    tensors.flatMap(({ name, weight, tensor }, index) => (weight ? [[name, { tensor, sha256: digests[index]! }] as const] : [])),
  );
  for (const { name, dtype, shape, sha256 } of manifest.tensors) {
    const there = found.get(name);
    found.delete(name);
    if (there === undefined) add('missing_tensor', `${name} is in the manifest, not in the file`, name);
    else if (there.tensor.dtype !== dtype || there.tensor.shape.join() !== shape.join())
      add(
        'tensor_kind',
        `${name} is ${there.tensor.dtype} [${there.tensor.shape.join(', ')}], its manifest says ${dtype} [${shape.join(', ')}]`,
        name,
      );
    else if (sha256 !== undefined && there.sha256 !== sha256)
      add('tensor_digest', `SHA-256 of ${name} is ${there.sha256}, its manifest says ${sha256}`, name);
  }
  for (const name of found.keys()) add('unexpected_tensor', `${name} is in the file, not in the manifest`, name);
  return findings;
}

function replaced(uri: string, expected: string, got: string): string {
  return (
    `${uri} is not the object that was published: its identity is ${got}, its manifest says ${expected}, and has no digest of it, as the ` +
    'store copied it itself. Publish it again, with `server_side_copy: false` for digests that a copy can be verified by, ' +
    'or compare it with its source (`ckpt diff --values`)'
  );
}

/** Closes it, too. */
async function fileDigest(source: ByteSource): Promise<string> {
  try {
    const hash = createHash('sha256');
    const block = new Uint8Array(BLOCK);
    for (let offset = 0; offset < source.size; offset += BLOCK) {
      const part = block.subarray(0, Math.min(BLOCK, source.size - offset));
      await source.readInto(offset, part);
      hash.update(part);
    }
    return hash.digest('hex');
  } finally {
    await source.close();
  }
}
