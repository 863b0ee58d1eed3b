/**
 * What the inputs are, as data: a recipe names a file completely, so that a file made once is found again by the digest of its
 * recipe and never by its date.
 */
import { createHash } from 'node:crypto';
import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { dict, elements, float, ordered, tuple, type PickleValue, type TensorValue } from './pickle.ts';
import { writeSafetensors } from './safetensors.ts';
import { writeTorchZip } from './torch-zip.ts';

/** Counts up with every change of what a recipe means. */
const VERSION = 1;

export type Recipe =
  /** A Lightning training checkpoint of a transformer with Adam state: 12 tensors a layer and two, each four times. */
  | { readonly kind: 'lightning'; readonly layers: number; readonly width: number; readonly vocabulary: number }
  /** A state dict of `tensors` vectors with `least` to `most` elements of F32. */
  | { readonly kind: 'state-dict'; readonly tensors: number; readonly least: number; readonly most: number }
  | { readonly kind: 'safetensors'; readonly tensors: number; readonly least: number; readonly most: number };

export const RECIPES = {
  full: {
    /** 782 members, 2.04 GB, of which 0.68 GB are weights. */
    lightning: { kind: 'lightning', layers: 16, width: 832, vocabulary: 44_472 },
    small: { kind: 'state-dict', tensors: 20_000, least: 256, most: 16_384 },
    'many-zip': { kind: 'state-dict', tensors: 100_000, least: 16, most: 16 },
    'many-safetensors': { kind: 'safetensors', tensors: 100_000, least: 16, most: 16 },
    tiny: { kind: 'lightning', layers: 1, width: 8, vocabulary: 16 },
  },
  quick: {
    lightning: { kind: 'lightning', layers: 2, width: 64, vocabulary: 512 },
    small: { kind: 'state-dict', tensors: 100, least: 256, most: 1024 },
    'many-zip': { kind: 'state-dict', tensors: 500, least: 16, most: 16 },
    'many-safetensors': { kind: 'safetensors', tensors: 500, least: 16, most: 16 },
    tiny: { kind: 'lightning', layers: 1, width: 8, vocabulary: 16 },
  },
} as const satisfies Record<string, Record<string, Recipe>>;

export type InputName = keyof (typeof RECIPES)['full'];

export interface Input {
  readonly path: string;
  readonly size: number;
  /** Of its weights, without optimizer and everything else. */
  readonly weightBytes: number;
  readonly tensors: number;
}

/** The file of a recipe in `folder`, made now if it is not there. */
export async function provideInput(folder: string, recipe: Recipe, say: (line: string) => void): Promise<Input> {
  const digest = createHash('sha256')
    .update(JSON.stringify([VERSION, recipe]))
    .digest('hex');
  const extension = { lightning: 'ckpt', 'state-dict': 'pt', safetensors: 'safetensors' }[recipe.kind];
  const path = join(folder, `${recipe.kind}-${digest.slice(0, 12)}.${extension}`);
  const known = await stat(path).catch(() => null);
  if (known === null) {
    say(`making ${path} …`);
    await mkdir(folder, { recursive: true });
    await make(path, recipe);
  }
  const shapes = weightsOf(recipe);
  return {
    path,
    size: known?.size ?? (await stat(path)).size,
    weightBytes: shapes.reduce((sum, { shape }) => sum + elements(shape) * 4, 0),
    tensors: shapes.length,
  };
}

interface Weight {
  readonly name: string;
  readonly shape: readonly number[];
}

function weightsOf(recipe: Recipe): readonly Weight[] {
  if (recipe.kind !== 'lightning') {
    const { tensors, least, most } = recipe;
    // Sizes spread evenly, in an order that has nothing of a pattern: 7919 is prime.
    return Array.from({ length: tensors }, (_, index) => ({
      name: `blocks.${index >> 4}.parts.${index & 15}.weight`,
      shape: [least + Math.floor(((index * 7919) % tensors) * ((most - least) / tensors))],
    }));
  }
  const { layers, width, vocabulary } = recipe;
  const layer = (index: number): readonly Weight[] =>
    (
      [
        ['norm1.weight', [width]],
        ['norm1.bias', [width]],
        ['attention.in_proj_weight', [3 * width, width]],
        ['attention.in_proj_bias', [3 * width]],
        ['attention.out_proj.weight', [width, width]],
        ['attention.out_proj.bias', [width]],
        ['norm2.weight', [width]],
        ['norm2.bias', [width]],
        ['mlp.0.weight', [4 * width, width]],
        ['mlp.0.bias', [4 * width]],
        ['mlp.2.weight', [width, 4 * width]],
        ['mlp.2.bias', [width]],
      ] as const
    ).map(([name, shape]) => ({ name: `model.layers.${index}.${name}`, shape }));
  return [
    { name: 'model.embedding.weight', shape: [vocabulary, width] },
    ...Array.from({ length: layers }, (_, index) => layer(index)).flat(),
    { name: 'model.norm.weight', shape: [width] },
  ];
}

async function make(path: string, recipe: Recipe): Promise<void> {
  const weights = weightsOf(recipe);
  if (recipe.kind === 'safetensors') return writeSafetensors(path, weights, weights.length);
  const storages: number[] = [];
  const tensor = (shape: readonly number[]): TensorValue => {
    storages.push(elements(shape) * 4);
    return { kind: 'tensor', key: String(storages.length - 1), storage: 'FloatStorage', shape };
  };
  const state = ordered(new Map(weights.map(({ name, shape }) => [name, tensor(shape)])));
  const root = recipe.kind === 'lightning' ? lightning(weights, state, tensor) : state;
  await writeTorchZip(path, { root, storages, seed: weights.length });
}

/** What Lightning 2 saves beside the state dict of a model trained with AdamW and a cosine schedule. */
function lightning(weights: readonly Weight[], state: PickleValue, tensor: (shape: readonly number[]) => PickleValue): PickleValue {
  const counts = (ready: number): PickleValue => dict({ ready, completed: ready, started: ready, processed: ready });
  const progress = (total: number, current: number): PickleValue =>
    dict({ total: counts(total), current: counts(current), is_last_batch: true });
  const loop = dict({ state_dict: dict({}), batch_progress: progress(0, 0) });
  const moments = new Map(
    weights.map(({ shape }, index): [number, PickleValue] => [
      index,
      dict({ step: tensor([]), exp_avg: tensor(shape), exp_avg_sq: tensor(shape) }),
    ]),
  );
  const group = dict({
    lr: float(2.5e-4),
    betas: tuple(float(0.9), float(0.95)),
    eps: float(1e-8),
    weight_decay: float(0.1),
    amsgrad: false,
    maximize: false,
    foreach: null,
    capturable: false,
    differentiable: false,
    fused: null,
    decoupled_weight_decay: true,
    initial_lr: float(3e-4),
    params: weights.map((_, index) => index),
  });
  return dict({
    epoch: 11,
    global_step: 120_000,
    'pytorch-lightning_version': '2.6.6',
    state_dict: state,
    loops: dict({
      fit_loop: dict({
        state_dict: dict({}),
        'epoch_loop.state_dict': dict({ _batches_that_stepped: 120_000 }),
        'epoch_loop.batch_progress': progress(120_000, 10_000),
        'epoch_loop.val_loop.batch_progress': progress(4800, 400),
        epoch_progress: dict({ total: counts(12), current: counts(12) }),
      }),
      validate_loop: loop,
      test_loop: loop,
      predict_loop: loop,
    }),
    callbacks: dict({
      "EarlyStopping{'monitor': 'val_loss', 'mode': 'min'}": dict({
        wait_count: 0,
        stopped_epoch: 0,
        best_score: float(2.13),
        patience: 3,
      }),
      "ModelCheckpoint{'monitor': 'val_loss', 'mode': 'min', 'every_n_train_steps': 0, 'every_n_epochs': 1, 'train_time_interval': None}":
        dict({
          monitor: 'val_loss',
          best_model_score: float(2.13),
          best_model_path: 'checkpoints/epoch=11-step=120000.ckpt',
          dirpath: 'checkpoints',
          best_k_models: dict({ 'checkpoints/epoch=11-step=120000.ckpt': float(2.13) }),
          last_model_path: 'checkpoints/last.ckpt',
        }),
    }),
    optimizer_states: [dict({ state: moments, param_groups: [group] })],
    lr_schedulers: [
      dict({
        T_max: 200_000,
        eta_min: float(0),
        base_lrs: [float(3e-4)],
        last_epoch: 120_000,
        _step_count: 120_001,
        _last_lr: [float(2.5e-4)],
      }),
    ],
    hparams_name: 'kwargs',
    hyper_parameters: dict({ width: 832, layers: 16, lr: float(3e-4), data: dict({ variables: ['t2m', 'msl', 'z_500'] }) }),
  });
}
