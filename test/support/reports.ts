/** Runs and batches for the tests of reports, made of plain data: a small transformer, a large one, and names that mean harm. */
import { inflateSync } from 'node:zlib';
import type { Dtype } from '../../src/model/dtype.ts';
import type { Header } from '../../src/model/header.ts';
import { NO_TRAINING } from '../../src/model/header.ts';
import type { Plan } from '../../src/model/plan.ts';
import type { Outcome } from '../../src/pipeline/batch.ts';
import type { PipelineResult, StageRecord } from '../../src/pipeline/contract.ts';
import { batchContents } from '../../src/report/batch-contents.ts';
import type { BatchContents, Contents, RunContents } from '../../src/report/contents.ts';
import { unpackContents, type PackedContents } from '../../src/report/packed.ts';
import { runContents, type Published } from '../../src/report/run-contents.ts';

/** What a page shows, as it stands in the page. */
export function contentsIn(html: string): Contents {
  const bytesIn = (id: string): Buffer => {
    const [, text] = new RegExp(String.raw`<script type="text/plain" id="${id}">\s*([A-Za-z0-9+/=]*)\s*</script>`).exec(html)!;
    return Buffer.from(text!, 'base64');
  };
  return unpackContents(JSON.parse(inflateSync(bytesIn('contents')).toString('utf8')) as PackedContents, bytesIn('tensor-digests'));
}

const ZERO = Date.parse('2026-11-25T02:00:00Z');
const CREATED = '2026-11-25T02:05:00.000Z';
const at = (milliseconds: number): string => new Date(ZERO + milliseconds).toISOString();

interface Made {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype?: Dtype;
  /** As published. */
  readonly cast?: Dtype;
  readonly fate?: 'filled' | 'skipped';
  readonly frozen?: boolean;
}

/** A decoder of 24 blocks, fine-tuned: a new head from the target, an old one left behind, the encoder frozen. */
export function transformer(blocks = 24, width = 1024): readonly Made[] {
  const linear = (name: string, out: number, into: number, more: Partial<Made> = {}): readonly Made[] => [
    { name: `${name}.weight`, shape: [out, into], ...more },
    { name: `${name}.bias`, shape: [out], ...more },
  ];
  return [
    { name: 'model.embed_tokens.weight', shape: [32000, width], frozen: true, cast: 'BF16' },
    ...Array.from({ length: blocks }, (_, block) => {
      const frozen = block < blocks / 3;
      const cast = { cast: 'BF16', frozen } as const;
      return [
        ...linear(`model.layers.${block}.self_attn.q_proj`, width, width, cast),
        ...linear(`model.layers.${block}.self_attn.k_proj`, width, width, cast),
        ...linear(`model.layers.${block}.self_attn.v_proj`, width, width, cast),
        ...linear(`model.layers.${block}.self_attn.o_proj`, width, width, cast),
        ...linear(`model.layers.${block}.mlp.up_proj`, 4 * width, width, cast),
        ...linear(`model.layers.${block}.mlp.down_proj`, width, 4 * width, cast),
        { name: `model.layers.${block}.input_norm.weight`, shape: [width], frozen },
        { name: `model.layers.${block}.steps`, shape: [], dtype: 'I64' as const },
      ];
    }).flat(),
    ...linear('head.classifier', 8000, width, { fate: 'filled' }),
    ...linear('old_head.classifier', 12000, width, { fate: 'skipped' }),
  ];
}

/** `count` tensors in modules of a thousand. */
export function many(count: number): readonly Made[] {
  return Array.from({ length: count }, (_, index) => ({
    name: `experts.${Math.floor(index / 1000)}.layer.${index % 1000}.weight`,
    shape: [64, 1 + (index % 97)],
  }));
}

export const HOSTILE = [
  '</script><script>globalThis.harmed = 1</script>',
  '<img src=x onerror="globalThis.harmed = 2">',
  '"><svg onload=globalThis.harmed=3>',
  "a'b`c${globalThis.harmed = 4}",
  '__proto__',
  'constructor.prototype.x',
  '$&$1<!--',
  '\u202Egnp.exe',
  '.'.repeat(300),
  'x'.repeat(5000),
] as const;

export function runOf(made: readonly Made[], change: Partial<PipelineResult> = {}): RunContents {
  const kept = made.filter(({ fate }) => fate !== 'skipped');
  const files = [
    { uri: 's3://training/runs/epoch=7.ckpt', size: 4_310_000_000, identity: 'W/"9f86d081884c7d65"' },
    { uri: 's3://models/base.safetensors', size: 1_000_000, identity: 'W/"2c26b46b68ffc68f"' },
  ];
  const tensor = ({ shape, dtype = 'F32' }: Made, storage: number): Header['tensors'][number] => ({ shape, dtype, storage, offset: 0 });
  const plan: Plan = {
    files,
    storages: [
      { file: 0, location: { kind: 'range', offset: 0 }, length: 1 },
      { file: 1, location: { kind: 'range', offset: 0 }, length: 1 },
    ],
    tensors: kept.map((one) => ({
      name: one.name,
      shape: one.shape,
      dtype: one.cast ?? one.dtype ?? 'F32',
      origin: tensor(one, one.fate === 'filled' ? 1 : 0),
    })),
    frozen: made.filter(({ frozen }) => frozen === true).map(({ name }) => name),
    skipped: made.filter(({ fate }) => fate === 'skipped').map(({ name }) => ({ what: name, reason: 'not in the target' })),
    dropped: [
      { what: 'optimizer_states', reason: 'safetensors holds tensors only; lightning and pytorch keep it' },
      { what: 'callbacks', reason: 'safetensors holds tensors only; lightning and pytorch keep it' },
      { what: 'hyper_parameters.loss', reason: 'a callable has no plain form', details: { global: 'project.losses.FocalLoss' } },
    ],
    metadata: {},
  };
  const source = made.filter(({ fate }) => fate !== 'filled');
  const header: Header = {
    format: 'lightning',
    container: 'zip',
    files: files.slice(0, 1),
    storages: plan.storages.slice(0, 1),
    tensors: [...source, ...source].map((one) => tensor(one, 0)),
    weights: source.map(({ name }, index) => ({ name, tensor: index })),
    nonTensors: [],
    stateDictKey: 'state_dict',
    training: { ...NO_TRAINING, epoch: 7, global_step: 184_000, has_optimizer: true, lightning_version: '2.5.1' },
    metadata: {},
    globals: [
      { module: 'torch._utils', name: '_rebuild_tensor_v2', verdict: 'safe', member: 'data.pkl', position: 40 },
      { module: 'torch._utils', name: '_rebuild_tensor_v2', verdict: 'safe', member: 'data.pkl', position: 90 },
      { module: 'collections', name: 'OrderedDict', verdict: 'safe', member: 'data.pkl', position: 10 },
      { module: 'project.losses', name: 'FocalLoss', verdict: 'unknown', member: 'data.pkl', position: 400 },
    ],
    findings: [],
  };
  const published: Published = {
    tensors: plan.tensors.map(({ name, dtype, shape }, index) => ({ name, dtype, shape, sha256: digest(index) })),
    skipped: plan.skipped,
    dropped: plan.dropped,
    frozen: plan.frozen,
    record: {},
  };
  const result: PipelineResult = {
    workflow_id: 'nightly-mirror-5f2c',
    run_id: '0199f3a2-6f3e-7c1e-9b51-2f6a7d3c9e10',
    status: 'completed',
    stages: STAGES,
    outputs: [
      {
        uri: 's3://serving/models/epoch-7.safetensors',
        format: 'safetensors',
        size: 780_000_000,
        sha256: digest(-1),
        tensors: kept.length,
        manifest: 's3://serving/models/epoch-7.safetensors.manifest.json',
        unchanged: false,
      },
    ],
    metadata: { loading_strategy: 'transfer_learning', warnings: ['2 tensors of old_head have no place in the target'] },
    error: null,
    waiting: null,
    ...change,
  };
  const failed = result.outputs.length === 0;
  return runContents({
    result,
    document: { name: 'nightly-mirror', stages: STAGES.map(({ type }) => ({ type })) },
    header,
    plan,
    published: failed ? null : published,
    gaps: [],
    created: CREATED,
    version: '0.1.0',
  });
}

function digest(seed: number): string {
  let state = (seed + 7) * 2654435761;
  return Array.from({ length: 64 }, () => (((state = (state * 1103515245 + 12345) % 2147483648) >> 16) & 15).toString(16)).join('');
}

function stage(index: number, type: string, from: number, to: number, summary: string, more: Partial<StageRecord> = {}): StageRecord {
  const attempts = [{ attempt: 1, started: at(from), ended: at(to), outcome: 'completed', error: null }] as const;
  const tries = [{ started: at(from), ended: at(to), outcome: 'completed', summary, changed: null, attempts }] as const;
  return { index, type, status: 'completed', attempts: 1, started: at(from), ended: at(to), summary, error: null, tries, ...more };
}

const STAGES: readonly StageRecord[] = [
  stage(0, 'source.s3', 0, 640, 'lightning in zip: 342 tensors, 1.18 GiB of 4.01 GiB'),
  stage(1, 'loader.transfer_learning', 700, 1120, '340 tensors selected, 1.17 GiB to publish, 2 skipped, 2 from the target'),
  stage(2, 'modifier.cast', 1150, 1230, '313 tensors cast to BF16'),
  stage(3, 'modifier.freezing', 1260, 1330, '97 parameters frozen, 97 in all'),
  stage(4, 'sink.publish', 1400, 9800, 'published 342 tensors, 744 MiB', {
    attempts: 3,
    tries: [
      {
        started: at(1400),
        ended: at(9800),
        outcome: 'completed',
        summary: 'published 342 tensors, 744 MiB',
        changed: null,
        attempts: [
          {
            attempt: 1,
            started: at(1400),
            ended: at(3100),
            outcome: 'failed',
            error: { type: 'CheckpointSourceError', message: 's3://serving answered 503: slow down' },
          },
          { attempt: 2, started: at(4100), ended: at(5200), outcome: 'lost', error: null },
          { attempt: 3, started: at(5400), ended: at(9800), outcome: 'completed', error: null },
        ],
      },
    ],
  }),
];

export function failedRun(): RunContents {
  const error = {
    type: 'CheckpointIncompatibleError',
    message: '12 tensors do not fit the target: head.classifier.weight is 400 × 1024, expected 1000 × 1024.',
    details: { pipeline_stage: 'Pipeline stage 2/5 (loader.transfer_learning)', suggestion: 'Compare source and target with `ckpt diff`.' },
  };
  const stages = STAGES.map((one, index): StageRecord => {
    if (index === 0) return one;
    if (index > 1) return { ...one, status: 'pending', attempts: 0, started: null, ended: null, summary: null, tries: [] };
    return {
      ...one,
      status: 'failed',
      error,
      tries: [
        { ...one.tries[0]!, outcome: 'failed', attempts: [{ attempt: 1, started: at(700), ended: at(1120), outcome: 'failed', error }] },
      ],
    };
  });
  return runOf(transformer(2, 64), { status: 'failed', stages, outputs: [], error });
}

export function batchOf(count: number): BatchContents {
  const codes = ['CheckpointLoadError', 'CheckpointSourceError', 'CheckpointValidationError'];
  const outcomes = Array.from({ length: count }, (_, index): Outcome => {
    const item = `runs/${String(index % 40).padStart(3, '0')}/epoch=${index}.ckpt`;
    const failed = index % 23 === 0;
    const status = failed ? 'failed' : index % 5 === 0 ? 'unchanged' : 'completed';
    return {
      index,
      item,
      uri: `s3://training/${item}`,
      columns: {},
      status,
      workflow_id: `nightly/${index}/${item}`,
      run_id: null,
      outputs: failed ? [] : [`s3://serving/${item}.safetensors`],
      error: failed
        ? {
            type: codes[(index / 23) % 7 < 4 ? 0 : (index / 23) % 2 === 0 ? 1 : 2]!,
            message: `${item} ends after 12 of 40 MiB`,
            details: {},
          }
        : null,
      ended: at(index * 40 + 3000 * Math.sin(index / 90) + 3000),
    };
  });
  const of = (status: Outcome['status']): number => outcomes.filter((outcome) => outcome.status === status).length;
  const byCode: Record<string, number> = {};
  for (const { error } of outcomes) if (error !== null) byCode[error.type] = (byCode[error.type] ?? 0) + 1;
  return batchContents({
    result: {
      workflow_id: 'nightly-2026-11-25',
      status: 'completed',
      total: count,
      completed: of('completed'),
      unchanged: of('unchanged'),
      failed: of('failed'),
      cancelled: 0,
      running: 0,
      results: 's3://serving/results/nightly.jsonl',
      failures: [],
      failures_by_code: byCode,
      rate: 25,
      seconds_left: 0,
      error: null,
    },
    document: { name: 'nightly', items: { uri: 's3://training/runs/' } },
    runId: '0199f3a2-0000-7c1e-9b51-2f6a7d3c9e10',
    started: at(0),
    ended: at(count * 40 + 6500),
    outcomes,
    gaps: [],
    created: CREATED,
    version: '0.1.0',
  });
}
