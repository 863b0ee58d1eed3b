/** `ckpt inspect`: what a checkpoint says of itself, by a few small reads. */
import { resolve } from 'node:path';
import type { Json } from '../../../errors.ts';
import { readHeader } from '../../../formats/read-header.ts';
import { renderTree } from '../../../formats/torch/render-tree.ts';
import { windowed } from '../../../io/caching-source.ts';
import { withCounts } from '../../../io/copy/read-training-counts.ts';
import { openSource } from '../../../io/locations/open.ts';
import { siblingsOf } from '../../../io/locations/siblings.ts';
import { tensorBytes } from '../../../model/dtype.ts';
import { askedFor, type ByteSource, type PinnedFile } from '../../../model/byte-source.ts';
import { countTensor, type Count } from '../../../model/training-counts.ts';
import type { Attribute, Header } from '../../../model/header.ts';
import { formatBytes, formatCount, formatText, within } from '../../../model/text.ts';
import { nonTensorText, otherContent } from '../../../transform/left-out.ts';
import { configuredStorage } from '../../storage.ts';
import { print, printJson, type OutputOptions } from '../output.ts';
import { callerFolder } from '../paths.ts';
import { hanging, indented, widthOf } from '../wrap.ts';

/** Rows of the tensor table before it is cut; `--json` has all. */
const MOST_ROWS = 40;
/** Bytes of a name there; --json has the whole. */
const MOST_NAME = 120;
/** Characters of the column of names, and of what stands beside a name. */
const NAMES = 80;
const BESIDE = 46;

interface InspectOptions extends OutputOptions {
  readonly stateDictKey?: string;
}

export async function inspect(uri: string, options: InspectOptions): Promise<void> {
  const storage = await configuredStorage({ inputs: 'own' });
  const source = await openSource(uri.includes('://') ? uri : resolve(callerFolder(), uri), storage);
  try {
    const opened = [source];
    const openSibling = siblingsOf(source.uri, async (sibling) => {
      const shard = await openSource(sibling, storage);
      opened.push(shard);
      return shard;
    });
    const read = await readHeader(source, openSibling, { stateDictKey: options.stateDictKey });
    const openCounted = async (file: PinnedFile): Promise<ByteSource> => {
      const each = windowed(await storage.openPinned(file));
      opened.push(each);
      return { ...each, readInto: async (offset, target, signal) => target.set(await each.read(offset, target.length, signal)) };
    };
    const header = await withCounts(read, openCounted, new AbortController().signal);
    const requests = { count: 0, bytes: 0 };
    for (const each of opened) {
      requests.count += each.requests.count;
      requests.bytes += each.requests.bytes;
    }
    const size = Math.max(
      source.size,
      header.files.reduce((sum, file) => sum + file.size, 0),
    );
    const report = reportOn(header, { uri: askedFor(source), size, identity: source.identity, requests });
    if (options.json === true) printJson(report);
    else print(inspectText(report, header, widthOf(process.stdout)));
  } finally {
    await source.close();
  }
}

type Report = ReturnType<typeof reportOn>;

export function reportOn(
  header: Header,
  source: { uri: string; size: number; identity: string; requests: { count: number; bytes: number } },
) {
  return {
    uri: source.uri,
    size: source.size,
    identity: source.identity,
    format: header.format,
    container: header.container,
    tensors: header.weights.map(({ name, tensor }) => {
      const { dtype, shape, unsupported } = header.tensors[tensor]!;
      return unsupported === undefined
        ? { name, dtype, shape, bytes: tensorBytes(dtype, shape) }
        : { name, dtype: null, shape, bytes: 0, unsupported };
    }),
    /** Values of the state dict that are not tensors: left out of what is written. */
    non_tensors: header.nonTensors.map(({ name, is, tensors = 0 }) => ({ name, is, tensors })),
    /** Attributes of its tensors and of a scripted module: left out as well. */
    attributes: (header.attributes ?? []).map(({ name, is, tensors = 0 }) => ({ name, is, tensors })),
    num_parameters: header.weights.length,
    ...sumsOf(header),
    training: header.training,
    state_dict_key: header.stateDictKey,
    other_content: otherContent(header),
    ...trainingState(header),
    metadata: header.metadata,
    ...(header.anemoiMetadata === undefined ? {} : { anemoi_metadata: header.anemoiMetadata }),
    globals: header.globals.map(({ module, name, verdict }) => ({ module, name, verdict })),
    findings: header.findings,
    requests: { count: source.requests.count, bytes: source.requests.bytes },
  };
}

/** Elements and bytes of the weights by dtype, and what all tensors of the file take in memory, each once or each storage once. */
function sumsOf({ weights, tensors, storages }: Header) {
  const dense = weights.flatMap(({ tensor }) => (tensors[tensor]!.unsupported === undefined ? [tensors[tensor]!] : []));
  const count = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1);
  const dtypes: Record<string, number> = {};
  for (const { dtype } of dense) dtypes[dtype] = (dtypes[dtype] ?? 0) + 1;
  const all = tensors.filter(({ unsupported }) => unsupported === undefined);
  const used = new Set(all.map(({ storage }) => storage));
  return {
    num_elements: dense.reduce((sum, { shape }) => sum + count(shape), 0),
    tensor_bytes: dense.reduce((sum, { dtype, shape }) => sum + tensorBytes(dtype, shape), 0),
    dtypes,
    memory: {
      without_sharing: all.reduce((sum, { dtype, shape }) => sum + tensorBytes(dtype, shape), 0),
      with_sharing: [...used].reduce((sum, storage) => sum + storages[storage]!.length, 0),
    },
  };
}

/** What lies beside the weights, bounded: hyper-parameters on their own, all else under its key. */
function trainingState(header: Header): { readonly hyper_parameters?: Json; readonly training_state?: Json } {
  const { tree, tensors, storages } = header;
  const root = tree?.nodes[tree.root];
  const held = header.stateDictPath?.[0] ?? header.stateDictKey;
  if (tree === undefined || typeof root !== 'object' || root?.kind !== 'dict' || held === null) return {};
  const source = { tree, tensors, storages };
  const hyperParameters = root.entries.find(([key]) => tree.nodes[key] === 'hyper_parameters')?.[1];
  return {
    ...(hyperParameters === undefined ? {} : { hyper_parameters: renderTree(source, hyperParameters) }),
    training_state: renderTree(source, tree.root, { without: new Set([held, 'hyper_parameters']) }),
  };
}

/** Lines within so many columns, but for locations and names, which stay whole. */
export function inspectText(report: Report, header: Header, columns: number): readonly string[] {
  const { training } = report;
  const longest = Math.max(6, ...report.tensors.slice(0, MOST_ROWS).map(({ name }) => name.length));
  const width = Math.min(NAMES, longest, Math.max(6, columns - BESIDE));
  const said = (text: string): readonly string[] => hanging(text, 2, columns).split('\n');
  const rows = report.tensors.slice(0, MOST_ROWS).flatMap(({ name, dtype, shape, bytes, ...other }) => {
    const what =
      dtype === null
        ? indented(`no plain form: ${other.unsupported}`, width + 4, columns).trimStart()
        : `${dtype.padEnd(8)}  ${`[${shape.join(', ')}]`.padEnd(18)}  ${formatBytes(bytes)}`;
    const lines =
      name.length > width && columns !== Infinity
        ? `  ${short(name)}\n${' '.repeat(width + 4)}${what}`
        : `  ${short(name).padEnd(width)}  ${what}`;
    return lines.split('\n');
  });
  const more = report.tensors.length - MOST_ROWS;
  const unknown = header.globals.filter(({ verdict }) => verdict !== 'safe').map(({ module, name }) => `${module}.${name}`);
  return [
    report.uri,
    ...said(
      `${formatText(report)}, ${formatBytes(report.size)}; ${formatCount(report.tensors.length, 'tensor')}, ${formatBytes(report.tensors.reduce((sum, t) => sum + t.bytes, 0))}`,
    ),
    ...said(
      `epoch ${countText(header, 'epoch')}, global step ${countText(header, 'global_step')}, optimizer ${yes(training.has_optimizer)}, scheduler ${yes(training.has_scheduler)}`,
    ),
    ...(report.other_content.length > 0 ? said(`beside the weights: ${report.other_content.join(', ')}`) : []),
    ...leftOut(header).flatMap(said),
    '',
    ...rows,
    ...(more > 0 ? [`  … and ${more} more (--json has all)`] : []),
    '',
    ...said(totals('by dtype', report.tensors, (t) => t.dtype ?? 'unsupported')),
    ...said(totals('by module', report.tensors, (t) => t.name.split('.')[0] ?? '')),
    ...(unknown.length > 0 ? ['', ...said(`unknown classes, kept as data: ${[...new Set(unknown)].join(', ')}`)] : []),
    ...header.findings.flatMap(({ code, message }) => said(`${code}: ${message}`)),
    '',
    `  read ${formatBytes(report.requests.bytes)} in ${formatCount(report.requests.count, 'request')}`,
  ];
}

function countText(header: Header, count: Count): string {
  return String(header.training[count] ?? (countTensor(header, count) === undefined ? '-' : 'a tensor'));
}

function leftOut({ nonTensors, attributes = [] }: Header): readonly string[] {
  return [
    ...leftOutLine('no tensors, and left out', nonTensors),
    ...leftOutLine('without a place in a state dict, and left out', attributes),
  ];
}

function leftOutLine(what: string, all: readonly Attribute[]): readonly string[] {
  if (all.length === 0) return [];
  // Those that hold tensors first: of them most is lost.
  const told = [...all]
    .sort((a, b) => (b.tensors ?? 0) - (a.tensors ?? 0))
    .slice(0, 5)
    .map(nonTensorText);
  return [`${what}: ${told.join(', ')}${all.length > told.length ? ' …' : ''}`];
}

function totals(title: string, tensors: Report['tensors'], group: (tensor: Report['tensors'][number]) => string): string {
  const sums = new Map<string, { count: number; bytes: number }>();
  for (const tensor of tensors) {
    const sum = sums.get(group(tensor)) ?? { count: 0, bytes: 0 };
    sums.set(group(tensor), { count: sum.count + 1, bytes: sum.bytes + tensor.bytes });
  }
  const shown = [...sums].sort((a, b) => b[1].bytes - a[1].bytes).slice(0, 12);
  const more = sums.size > shown.length ? ' …' : '';
  return `${title}: ${shown.map(([name, { count, bytes }]) => `${short(name)} ${formatBytes(bytes)} (${count})`).join(', ')}${more}`;
}

/** A name may be as long as a file. */
function short(name: string): string {
  return name.length <= MOST_NAME ? name : `${within(name, MOST_NAME)}…`;
}

function yes(value: boolean): string {
  return value ? 'yes' : 'no';
}
