/** Our torch archives, read back by our reader and by jszip; torch itself reads them in test/oracle. */
import { crc32 } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import jszip from 'jszip';
import { isCheckpointError } from '../../../src/errors.ts';
import { readHeader } from '../../../src/formats/read-header.ts';
import { composeTree } from '../../../src/formats/torch/compose.ts';
import { layoutTorch } from '../../../src/formats/torch/layout.ts';
import { readArchive } from '../../../src/formats/zip/archive.ts';
import { openPinned } from '../../../src/io/local/local-file.ts';
import type { LeftOut, Plan } from '../../../src/model/plan.ts';
import type { ValueTree } from '../../../src/model/value.ts';
import { keepTrainingState } from '../../../src/transform/keep-training-state.ts';
import { loadWeights } from '../../../src/transform/load.ts';
import { selectWeights } from '../../../src/transform/select-weights.ts';
import { treeOf } from '../../support/headers.ts';
import { RULES } from '../../support/load-rules.ts';
import { memorySource } from '../../support/memory-source.ts';
import { pickle } from '../../support/pickle.ts';
import { EXPECTED, fixture } from '../../support/project.ts';
import { bytesOf, digestsOf, headerOf } from '../../support/publish.ts';
import { dict, tensor } from '../../support/torch-file.ts';
import { zip } from '../../support/zip.ts';

const good = Object.entries(EXPECTED.good).filter(
  ([, { container, tensors }]) => ['zip', 'legacy', 'safetensors'].includes(container) && Object.keys(tensors).length > 0,
);
const FORMATS = ['pytorch', 'lightning', 'state_dict'] as const;

async function planOf(path: string): Promise<Plan> {
  const header = await headerOf(fixture(path));
  return keepTrainingState(header, selectWeights(header, { skipUnsupported: true }));
}

/** Top level of a tree: plain values, and `…` for all others. */
function topLevel({ root, nodes }: ValueTree): Record<string, unknown> {
  const top = nodes[root] as { readonly entries: readonly (readonly [number, number])[] };
  return Object.fromEntries(top.entries.map(([key, value]) => [String(nodes[key]), typeof nodes[value] === 'object' ? '…' : nodes[value]]));
}

describe.each(FORMATS)('%s', (format) => {
  test.each(good)('%s', async (path, expected) => {
    const plan = await planOf(path).catch((error: unknown) => {
      if (expected.may_refuse === true && isCheckpointError(error)) return null;
      throw error;
    });
    if (plan === null) return;
    const layout = layoutTorch(plan, format);
    const bytes = await bytesOf(plan, layout);
    expect(bytes.length).toBe(layout.size);
    expect((await bytesOf(plan, layoutTorch(plan, format))).equals(bytes)).toBe(true);

    const source = memorySource(bytes);
    const header = await readHeader(source);
    expect(header.format).toBe(format === 'state_dict' && plan.tensors.length > 0 ? 'state_dict' : format);
    expect(header.globals.filter(({ verdict }) => verdict !== 'safe')).toEqual([]);
    const back = selectWeights(header, { skipUnsupported: false });
    const wanted = Object.entries(expected.tensors).filter(([, { unsupported }]) => unsupported === undefined);
    const found = await digestsOf(back, back.tensors, async () => source);
    expect(found).toEqual(new Map(wanted));
    if (path.includes('tied_weights')) expect(groups(header)).toEqual(expected.shared);

    // 7. Save: that metadata entry is carried over when the source has it.
    if (path.includes('anemoi')) {
      const original = await headerOf(fixture(path));
      expect(header.anemoiMetadata).toEqual(original.anemoiMetadata);
      expect(header.attachments!.map(({ name }) => name)).toEqual(original.attachments!.map(({ name }) => name));
      expect(header.anemoiMetadata).toBeDefined();
    }
    const members = (await readArchive(source)).members;
    const unzipped = await jszip.loadAsync(bytes, { checkCRC32: true });
    expect(Object.keys(unzipped.files)).toEqual(members.map(({ name }) => name));
    for (const { name, crc32: sum } of members) expect(crc32(await unzipped.file(name)!.async('nodebuffer'))).toBe(sum);
    for (const { location, length } of header.storages)
      if (location.kind === 'member' && length > 0) expect(dataStart(bytes, location.header) % 64).toBe(0);
  });
});

function dataStart(bytes: Buffer, header: number): number {
  return header + 30 + bytes.readUInt16LE(header + 26) + bytes.readUInt16LE(header + 28);
}

/** A dict under a key of the top level: its values by key. */
function dictUnder({ root, nodes }: ValueTree, key: string): ReadonlyMap<string, unknown> {
  const entries = (id: number): readonly (readonly [number, number])[] =>
    (nodes[id] as { entries: readonly (readonly [number, number])[] }).entries;
  const held = entries(root).find(([each]) => nodes[each] === key)![1];
  return new Map(entries(held).map(([each, value]) => [String(nodes[each]), nodes[value]]));
}

/** Names of weights that share a storage. */
function groups({ weights, tensors }: Awaited<ReturnType<typeof headerOf>>): readonly (readonly string[])[] {
  const found = new Map<number, string[]>();
  for (const { name, tensor } of weights) {
    const { storage } = tensors[tensor]!;
    found.set(storage, [...(found.get(storage) ?? []), name]);
  }
  return [...found.values()].filter(({ length }) => length > 1);
}

describe("7. Formats: Anemoi's metadata under another folder", () => {
  /** As anemoi-utils writes it: arrays at the top and by data set, one of them called `path`; the JSON's spelling is kept. */
  const json = (root: string): string =>
    `{"version": "1", "big": 12345678901234567890, "one": 1.0, "path": "${root}/x", "list": [{"path": "${root}/y"}], ` +
    `"supporting_arrays_paths": {"lat": {"path": "${root}/anemoi-metadata/lat.numpy", "shape": [3], "dtype": "uint8"}, ` +
    `"ds": {"path": {"path": "${root}/anemoi-metadata/ds/\\u00fc.numpy", "shape": [2], "dtype": "uint8"}}, "elsewhere": {"path": "other/z"}}}`;
  const written = async (root: string, name: string) => {
    const of = (path: string): string => `${root}/${path}`;
    const source = memorySource(
      zip([
        { name: of('data.pkl'), data: pickle(dict({ state_dict: dict({ w: tensor(0) }), epoch: 3 })) },
        { name: of('data/0'), data: new Uint8Array(8) },
        { name: of(`anemoi-metadata/${name}`), data: Buffer.from(json(root)), deflated: true },
        { name: of('anemoi-metadata/lat.numpy'), data: Buffer.from([1, 2, 3]) },
        { name: of('anemoi-metadata/ds/ü.numpy'), data: Buffer.from([4, 5]) },
      ]),
    );
    const header = await readHeader(source);
    const once = loadWeights(header, undefined, { ...RULES, keepTrainingState: true }).plan;
    const plans = [once, loadWeights(header, undefined, { ...RULES, keepTrainingState: true }, once).plan];
    const found = await Promise.all(plans.map(async (plan) => bytesOf(plan, layoutTorch(plan, 'pytorch'), async () => source)));
    return {
      header,
      files: await Promise.all(found.map(async (bytes) => ({ bytes, zip: await jszip.loadAsync(bytes, { checkCRC32: true }) }))),
    };
  };

  test.each(['anemoi.json', 'ai-models.json'])('%s: the paths of its arrays name them in the archive that is written', async (name) => {
    const { header, files } = await written('model', name);
    expect(header.anemoiMetadata).toEqual(JSON.parse(json('model')));
    for (const { zip: out } of files) {
      const text = await out.file(`archive/anemoi-metadata/${name}`)!.async('string');
      const arrays = /"supporting_arrays_paths.*/s.exec(json('model'))![0];
      expect(text).toBe(json('model').replace(arrays, arrays.replaceAll('model/', 'archive/').replace('\\u00fc', 'ü')));
      const { supporting_arrays_paths: paths } = JSON.parse(text);
      expect(await out.file(paths.lat.path)!.async('array')).toEqual([1, 2, 3]);
      expect(await out.file(paths.ds.path.path)!.async('array')).toEqual([4, 5]);
    }
    expect(files[0]!.bytes.equals((await written('model', name)).files[0]!.bytes)).toBe(true);
  });

  test('stays as it is where its folder has that name, and the id of the archive tells them apart', async () => {
    const [same, other] = [await written('archive', 'anemoi.json'), await written('other', 'anemoi.json')];
    const out = same.files[0]!.zip;
    expect(await out.file('archive/anemoi-metadata/anemoi.json')!.async('string')).toBe(json('archive'));
    expect(same.header.attachments!.every((each) => 'storage' in each)).toBe(true);
    const id = async ({ files }: typeof same) => files[0]!.zip.file('archive/.data/serialization_id')!.async('string');
    expect(await id(same)).not.toBe(await id(other));
  });
});

describe('7. Formats: training state', () => {
  const PATH = 'good/lightning_trained.ckpt';
  const written = async (path: string, format: (typeof FORMATS)[number]) => {
    const plan = await planOf(path);
    const layout = layoutTorch(plan, format);
    const source = memorySource(await bytesOf(plan, layout));
    return { plan, layout, source, header: await readHeader(source) };
  };

  test('Lightning to Lightning keeps all of it', async () => {
    const original = await headerOf(fixture(PATH));
    const { layout, header } = await written(PATH, 'lightning');
    expect(layout.dropped).toEqual([]);
    expect(header.training).toEqual(original.training);
    expect(topLevel(header.tree!)).toEqual(topLevel(original.tree!));
    expect(header.tensors.length).toBe(original.tensors.length);
  });

  test('and the tensors of the optimizer are bit for bit the same', async () => {
    const { plan, source, header } = await written(PATH, 'lightning');
    const state = plan.stateTensors!;
    const again = keepTrainingState(header, selectWeights(header, { skipUnsupported: false }));
    expect(state.length).toBe(again.stateTensors!.length);
    expect(await digestsOf(again, again.stateTensors!, async () => source)).toEqual(
      await digestsOf(plan, state, () => openPinned(plan.files[0]!)),
    );
    expect(state.map(({ name }) => name)).toContain('optimizer_states[0].state.0.exp_avg');
  });

  test('Lightning to pytorch, model only: model_state_dict alone', async () => {
    const header = await headerOf(fixture(PATH));
    const plan = selectWeights(header, { skipUnsupported: false });
    const again = await readHeader(memorySource(await bytesOf(plan, layoutTorch(plan, 'pytorch'))));
    expect(topLevel(again.tree!)).toEqual({ model_state_dict: '…' });
    expect(again.tensors.length).toBe(plan.tensors.length);
  });

  test('Lightning to pytorch, with training state: one-element lists unwrapped; dropped keys recorded', async () => {
    const { layout, header } = await written(PATH, 'pytorch');
    expect(topLevel(header.tree!)).toEqual({
      model_state_dict: '…',
      optimizer_state_dict: '…',
      scheduler_state_dict: '…',
      epoch: 1,
      global_step: 8,
    });
    expect(layout.dropped.map(({ what }) => what)).toEqual(expect.arrayContaining(['callbacks', 'loops', 'pytorch-lightning_version']));
    expect(header.training).toMatchObject({ has_optimizer: true, has_scheduler: true });
  });

  test('pytorch to Lightning wraps them again', async () => {
    const { header } = await written('good/pytorch_training.pt', 'lightning');
    expect(header.training).toMatchObject({ has_optimizer: true, lightning_version: '2.0.0' });
    expect(Object.keys(topLevel(header.tree!)).slice(0, 5)).toEqual([
      'epoch',
      'global_step',
      'pytorch-lightning_version',
      'state_dict',
      'optimizer_states',
    ]);
  });

  test('None counts as absent in what Lightning gets: no list of it, and an empty one of schedulers', async () => {
    const original = await planOf('good/pytorch_training.pt');
    const lightningOf = (state: Record<string, unknown>): { top: ReadonlyMap<string, unknown>; dropped: readonly LeftOut[] } => {
      const { tree, dropped } = composeTree({ ...original, trainingState: treeOf(state), stateTensors: [] }, 'lightning');
      const { entries } = tree.nodes[tree.root] as { entries: readonly (readonly [number, number])[] };
      return { top: new Map(entries.map(([key, value]) => [String(tree.nodes[key]), tree.nodes[value]])), dropped };
    };
    const absent = (what: string): LeftOut => ({ what, reason: 'None counts as absent' });
    const given = lightningOf({ optimizer_state_dict: { state: {} }, scheduler_state_dict: null, best_metric: null });
    expect(given.top.get('optimizer_states')).toMatchObject({ kind: 'list', items: [expect.any(Number)] });
    expect(given.top.get('lr_schedulers')).toEqual({ kind: 'list', items: [] });
    expect(given.top.get('best_metric')).toBeNull();
    expect(given.top.has('scheduler_state_dict')).toBe(false);
    expect(given.dropped).toEqual([absent('scheduler_state_dict')]);
    const none = lightningOf({ optimizer_state_dict: null, scheduler_state_dict: null });
    expect([...none.top.keys()]).toEqual(['epoch', 'global_step', 'pytorch-lightning_version', 'state_dict']);
    expect(none.dropped).toEqual([absent('optimizer_state_dict'), absent('scheduler_state_dict')]);
    // The names that others take, of a state; what is none stays as it is.
    const others = lightningOf({ optimizer: { state: {} }, lr_scheduler: { last_epoch: 3 }, scheduler: 'cosine' });
    expect(others.top.get('optimizer_states')).toMatchObject({ kind: 'list', items: [expect.any(Number)] });
    expect(others.top.get('lr_schedulers')).toMatchObject({ kind: 'list', items: [expect.any(Number)] });
    expect([others.top.has('optimizer'), others.top.get('scheduler')]).toEqual([false, 'cosine']);
  });

  describe('what pytorch holds of a training state', () => {
    const STATE = { state: {}, param_groups: [] };
    const pytorchOf = async (state: Record<string, unknown>) => {
      const plan = { ...(await planOf('good/pytorch_training.pt')), trainingState: treeOf(state), stateTensors: [] };
      const { tree, dropped } = composeTree(plan, 'pytorch');
      const { entries } = tree.nodes[tree.root] as { entries: readonly (readonly [number, number])[] };
      const top = new Map(entries.map(([key, value]) => [String(tree.nodes[key]), tree.nodes[value]]));
      return { keys: [...top.keys()].slice(1), dropped: dropped.map(({ what }) => what), top };
    };

    test.each(['callbacks', 'loops', 'lr_schedulers', 'hyper_parameters'])(
      'of a plain checkpoint with a key %s: all of it (one mark is not enough)',
      async (key) => {
        const { keys, dropped } = await pytorchOf({ optimizer_state_dict: STATE, [key]: ['x'], ema: {}, scaler: {}, epoch: 3 });
        expect(dropped).toEqual([]);
        expect([...keys].sort()).toEqual(
          ['ema', 'epoch', 'optimizer_state_dict', 'scaler', key === 'lr_schedulers' ? 'scheduler_state_dict' : key].sort(),
        );
      },
    );

    test('of one with optimizer_states alone: all of it, under the name that readers look for', async () => {
      const both = await pytorchOf({ optimizer_state_dict: STATE, optimizer_states: [STATE, STATE], ema: {} });
      expect(both).toMatchObject({ keys: ['optimizer_state_dict', 'optimizer_states', 'ema'], dropped: [] });
      const alone = await pytorchOf({ ema: {}, optimizer_states: [STATE] });
      expect(alone).toMatchObject({ keys: ['optimizer_state_dict', 'ema'], dropped: [] });
      expect(alone.top.get('optimizer_state_dict')).toMatchObject({ kind: 'dict' });
    });

    test('of two marks, or the version: what Lightning to pytorch keeps', async () => {
      const marks = await pytorchOf({ optimizer_states: [STATE], callbacks: {}, ema: {} });
      expect(marks).toMatchObject({ keys: ['optimizer_state_dict'], dropped: ['callbacks', 'ema'] });
      const version = await pytorchOf({ 'pytorch-lightning_version': '2.5.0', epoch: 3, ema: {} });
      expect(version).toMatchObject({ keys: ['epoch'], dropped: ['pytorch-lightning_version', 'ema'] });
    });

    test('optimizer and lr_scheduler are named as readers look for them, where they are states and the name is free', async () => {
      const others = await pytorchOf({ it: 3, optimizer: STATE, lr_scheduler: { last_epoch: 3 }, scaler: {} });
      expect(others).toMatchObject({ keys: ['optimizer_state_dict', 'scheduler_state_dict', 'it', 'scaler'], dropped: [] });
      expect((await pytorchOf({ scheduler: { last_epoch: 3 } })).keys).toEqual(['scheduler_state_dict']);
      const strings = await pytorchOf({ optimizer: 'adam', scheduler: 'cosine' });
      expect(strings).toMatchObject({ keys: ['optimizer', 'scheduler'], dropped: [] });
      const own = { epoch: 1, optimizer: STATE, optimizer_state_dict: STATE, scheduler: STATE, scheduler_state_dict: null };
      expect(await pytorchOf(own)).toMatchObject({ keys: Object.keys(own), dropped: [] });
    });

    test('an empty list counts as absent (8. warm_start)', async () => {
      const none = { optimizer_states: [], lr_schedulers: [], epoch: 3 };
      expect(await pytorchOf(none)).toMatchObject({ keys: ['epoch'], dropped: [] });
      const { keys } = await pytorchOf({ ...none, optimizer_states: [STATE], 'pytorch-lightning_version': '2.5.0' });
      expect(keys).toEqual(['optimizer_state_dict', 'epoch']);
    });
  });

  test('a state dict has no place for any of it', async () => {
    const { layout, header } = await written(PATH, 'state_dict');
    expect(header.stateDictKey).toBeNull();
    expect(layout.dropped.map(({ what }) => what)).toContain('optimizer_states');
  });

  test('hyper-parameters without a plain form are left out and named, the others stay', async () => {
    const { layout, header } = await written('good/lightning_rich_hparams_p2.ckpt', 'lightning');
    const said = new Map(layout.dropped.map(({ what, reason }) => [what, reason]));
    expect(said.get('hyper_parameters.stage')).toBe('an object of fixture_models.Stage');
    expect(said.get('hyper_parameters.config')).toBe('replaced by its plain content: a configuration of OmegaConf');
    expect(said.get('hyper_parameters.np_float')).toBe('replaced by a plain number: a scalar of numpy');
    const hyper = dictUnder(header.tree!, 'hyper_parameters');
    expect(hyper.get('np_float')).toEqual({ kind: 'float', value: 0.1 });
    expect(hyper.get('np_int')).toBe(-5);
    expect(hyper.get('np_bool')).toBe(true);
    expect(hyper.get('config')).toMatchObject({ kind: 'dict' });
    expect(hyper.get('list_config')).toMatchObject({ kind: 'list' });
    expect(hyper.has('stage')).toBe(false);
    for (const { what } of layout.dropped) expect(what).toMatch(/^hyper_parameters\./);
    expect(header.training.has_hyper_parameters).toBe(true);
    expect(header.globals.every(({ verdict }) => verdict === 'safe')).toBe(true);
  });
});
